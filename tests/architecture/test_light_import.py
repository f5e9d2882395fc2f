"""`import core.llm` is light: nobody pays for a provider, a server or a watcher that is not used."""

import asyncio
import os
import subprocess
import sys

import pytest

from core.llm.testing import OpenAIServer
from tests.architecture.source import ROOT, inside

HEAVY = (
    "aiohttp",
    "watchdog",
    "yaml",
    "loguru",
    "xllamacpp",
    "pytest",
    "trustme",
    "multiprocessing",
    "sqlite3",
    "redis",
)

HOST = "from core.container import Container\nfrom core.llm import LLMService, ProviderModule"
"""What every host writes; `make bench` measures it."""

NOT_FOR_NAMING_THE_SERVICE = (
    "core.llm.accounting",
    "core.llm.bindings",
    "core.llm.factory",
    "core.llm.model_manager",
    "core.llm.model_swap",
    "core.llm.observability",
    "core.llm.on_demand",
    "core.llm.pipeline.build",
    "core.llm.providers.config.loader",
    "core.llm.providers.config.manager",
    "core.llm.providers.config.models",
    "core.llm.residency",
    "core.llm.routing.router",
    "core.llm.routing.strategies",
    "core.llm.runtime.build",
    "core.llm.runtime.live",
    "core.llm.runtime.runtime",
    "core.llm.runtime.state",
    "core.llm.runtime.swap",
    "core.llm.state",
    "core.llm.transport",
    "importlib.resources",
    "pydantic.root_model",
    "tomllib",
)
"""What is imported by `ProviderModule(…)`: naming the service needs its types, not what stands behind them."""

FIRST_CALLS = """
import asyncio, os, sys
from core.container import Container
from core.llm import LLMService, ProviderModule

async def main():
    provider = {"type": "openai_compatible", "base_url": os.environ["URL"], "models": ["m"]}
    config = {"default_model": "server/m", "providers": {"server": provider}}
    async with Container([ProviderModule(config)]) as container:
        llm = container.get(LLMService)
        before = set(sys.modules)
        await llm.generate("Say hello")
        async with llm.stream("Say hello") as stream:
            async for _ in stream:
                pass
        llm.explain("Say hello")
        print("\\n".join(set(sys.modules) - before))

asyncio.run(main())
"""


def loaded_after(statement: str) -> set[str]:
    """Names of all modules that a fresh interpreter has loaded after *statement*."""
    return set(printed_by(f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"))


def printed_by(code: str) -> list[str]:
    """The words that a fresh interpreter prints which runs *code*."""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize("package", ["core.llm", "core.container", "core.lifecycle"])
def test_importing_the_package_loads_nothing_heavy(package):
    """Neither a library that only some applications need, nor a concrete provider."""
    loaded = loaded_after(f"import {package}")

    assert loaded & set(HEAVY) == set()
    assert {name for name in loaded if name.startswith("core.llm.providers.")} <= {
        name for name in loaded if name.startswith(("core.llm.providers.base", "core.llm.providers.config"))
    }
    assert not {name for name in loaded if name.startswith("core.llm.testing")}


def test_importing_the_package_alone_loads_nothing_else():
    """Its names are imported when they are first used."""
    loaded = loaded_after("import core.llm")

    assert {name for name in loaded if inside(name, "core")} == {"core", "core.llm"}
    assert not loaded & {"pydantic", "injector", "asyncio"}


def test_naming_the_service_and_the_module_loads_only_their_types():
    """What a host writes at the top of a file costs at most half of importing the openai SDK; see docs/benchmarks.md.

    Fails when one of the service's files imports, for an annotation, what is needed from the start on only: import it
    under `if TYPE_CHECKING:`.
    """
    loaded = loaded_after(HOST)

    too_much = [name for name in loaded if any(inside(name, place) for place in NOT_FOR_NAMING_THE_SERVICE)]
    assert not too_much, f"imported too early: {', '.join(sorted(too_much))}"
    assert loaded & set(HEAVY) == set()


def test_importing_the_bindings_builds_no_schema_of_the_configuration():
    """A schema takes milliseconds, and is built when the first configuration is validated."""
    built = printed_by(
        "import core.llm.bindings\n"
        "from core.llm.providers.config.models.frozen import Frozen\n"
        "def all_of(kind):\n"
        "    return [kind] + [one for below in kind.__subclasses__() for one in all_of(below)]\n"
        "names = [one.__name__ for one in all_of(Frozen) if one.__pydantic_complete__]\n"
        "print(len(all_of(Frozen)), *names)"
    )

    assert int(built[0]) > 20, "the configuration is not imported any more: this test looks at nothing"
    assert built[1:] == []


async def test_no_call_imports_anything():
    """Imports belong to the start: the first caller does not wait for them."""
    async with OpenAIServer("m") as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            FIRST_CALLS,
            cwd=ROOT,
            env={**os.environ, "URL": server.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        printed, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    assert printed.split() == []


def test_the_test_kit_does_not_need_pytest():
    """A host with another test runner can use the doubles."""
    loaded = loaded_after("import core.llm.testing")

    assert not loaded & {"pytest", "aiohttp", "trustme", "xllamacpp"}


def test_building_a_module_opens_nothing():
    """A constructor does no input or output: not even the configuration file has to exist yet."""
    loaded = loaded_after("from core.llm import ProviderModule\nProviderModule('/no/such/file.yaml')")

    assert loaded & {*HEAVY, "tomllib"} == set()
