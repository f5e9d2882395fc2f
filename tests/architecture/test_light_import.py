"""`import core.llm` is light: nobody pays for a provider, a server or a watcher that is not used."""

import subprocess
import sys

import pytest

from tests.architecture.source import ROOT

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


def loaded_after(statement: str) -> set[str]:
    """Names of all modules that a fresh interpreter has loaded after *statement*."""
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize("package", ["core.llm", "core.container", "core.lifecycle"])
def test_importing_the_package_loads_nothing_heavy(package):
    """Neither a library that only some applications need, nor a concrete provider."""
    loaded = loaded_after(f"import {package}")

    assert loaded & set(HEAVY) == set()
    assert {name for name in loaded if name.startswith("core.llm.providers.")} <= {
        name for name in loaded if name.startswith(("core.llm.providers.base", "core.llm.providers.config"))
    }
    assert not {name for name in loaded if name.startswith("core.llm.testing")}


def test_the_test_kit_does_not_need_pytest():
    """A host with another test runner can use the doubles."""
    loaded = loaded_after("import core.llm.testing")

    assert not loaded & {"pytest", "aiohttp", "trustme", "xllamacpp"}


def test_building_a_module_opens_nothing():
    """A constructor does no input or output: not even the configuration file has to exist yet."""
    loaded = loaded_after("from core.llm import ProviderModule\nProviderModule('/no/such/file.yaml')")

    assert loaded & set(HEAVY) == set()
