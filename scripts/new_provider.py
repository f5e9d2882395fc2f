"""Begin a provider that ships with the library: its folder, and a contract test that passes as it is written.

    python scripts/new_provider.py NAME             its own wire format over HTTP: the example package, renamed
    python scripts/new_provider.py NAME --openai    a vendor that speaks the OpenAI format, with endpoints of its own

A server that merely speaks the OpenAI format needs no code: `type: openai_compatible` and its base_url.
"""

import argparse
import keyword
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = Path("docs/examples/acme_provider")

OPENAI_CONFIG = '''"""What can be configured for Acme."""

from typing import ClassVar

from pydantic import Field

from core.llm.providers.config.models.provider import ProviderConfig


class AcmeConfig(ProviderConfig):
    """An account at Acme."""

    needs_key: ClassVar[bool] = True

    base_url: str = Field(
        default="https://api.acme.example/v1",
        description="Only for a proxy in front of Acme.",
    )
'''
OPENAI_PROVIDER = '''"""Acme as a provider: the OpenAI format, and what Acme does differently."""

from typing import Final

from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.provider import ProviderServices
from core.llm.providers.acme.config import AcmeConfig
from core.llm.providers.openai_style import OpenAIStyleProvider

QUIRKS: Final = OpenAIQuirks()
BATCH: Final = 256
"""Texts per embedding request."""


class AcmeProvider(OpenAIStyleProvider):
    """One account at Acme."""

    config: AcmeConfig

    def __init__(self, config: AcmeConfig, services: ProviderServices) -> None:
        super().__init__(config, services, base_url=config.base_url, quirks=QUIRKS, batch_size=BATCH)
'''
OPENAI_SPEC = '''"""Acme."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="acme",
    config="core.llm.providers.acme.config:AcmeConfig",
    provider="core.llm.providers.acme.provider:AcmeProvider",
    summary="Acme",
)
'''
OPENAI_TEST = '''"""Acme keeps the contract, over a server that plays it."""

import pytest

from core.llm.providers.acme.config import AcmeConfig
from core.llm.providers.acme.provider import AcmeProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.openai_upstream import OpenAIUpstream


class TestAcme(ProviderContract):
    """Every rule, nothing lacking."""

    @pytest.fixture
    async def upstream(self):
        async with OpenAIUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = AcmeConfig(base_url=upstream.url, api_key=canary.secret)
        provider = AcmeProvider(config, provider_services("acme"))
        await provider.start()
        yield provider
        await provider.close()
'''


def files_of(name: str, root: Path, *, openai: bool) -> dict[str, str]:
    """The text of every file of the provider *name*, by its path."""
    folder, tests = f"core/llm/providers/{name}", "tests/contract"
    if openai:
        texts = {
            f"{folder}/__init__.py": OPENAI_SPEC,
            f"{folder}/config.py": OPENAI_CONFIG,
            f"{folder}/provider.py": OPENAI_PROVIDER,
            f"{tests}/test_{name}.py": OPENAI_TEST,
        }
    else:
        example = root / EXAMPLE
        texts = {
            f"{folder}/__init__.py": (example / "acme_provider/__init__.py").read_text("utf-8"),
            f"{folder}/wire.py": (example / "acme_provider/wire.py").read_text("utf-8"),
            f"{folder}/provider.py": (example / "acme_provider/provider.py").read_text("utf-8"),
            f"{tests}/{name}_server.py": (example / "tests/acme_server.py").read_text("utf-8"),
            f"{tests}/test_{name}.py": (example / "tests/test_acme.py").read_text("utf-8"),
        }
    return {path: renamed(text, name) for path, text in texts.items()}


def renamed(text: str, name: str) -> str:
    """*text*, written for Acme as a package, as a provider *name* of this repository."""
    title = "".join(part.capitalize() for part in name.split("_"))
    for old, new in (
        (r": `plugins: \{allow: \[acme\]\}` makes `type: acme` known", ""),
        (r"\bSPEC\b", "PROVIDER"),
        (r"    api=1,\n", ""),
        (r"\bacme_provider\b", f"core.llm.providers.{name}"),
        (r"\bcore\.llm\.providers\.acme\b", f"core.llm.providers.{name}"),
        (r"\bacme_server\b", f"tests.contract.{name}_server"),
        (r"\bacme\b(?=[.]example)", name.replace("_", "-")),
        (r"\bacme-key\b", f"{name.replace('_', '-')}-key"),
        (r"\bacme\b", name),
        (r"\bAcme(?=[A-Z])", title),
        (r"\bTestAcme\b", f"Test{title}"),
        (r"\bAcme\b", title),
    ):
        text = re.sub(old, new, text)
    return sorted_imports(text)


def sorted_imports(text: str) -> str:
    """*text* with its imports, each on one line, grouped and sorted as the linter wants them."""
    lines = text.splitlines()
    places = [number for number, line in enumerate(lines) if re.match(r"(from|import) [\w.]+", line)]
    if not places:
        return text
    imports = [lines[number] for number in places]
    groups = [sorted((line for line in imports if _group(line) == group), key=_order) for group in range(3)]
    block = "\n\n".join("\n".join(group) for group in groups if group)
    return "\n".join([*lines[: places[0]], block, *lines[places[-1] + 1 :]]) + "\n"


def _group(line: str) -> int:
    """0: the standard library, 1: other libraries, 2: this repository."""
    package = line.split()[1].split(".", 1)[0]
    return 2 if package in {"core", "tests"} else 0 if package in sys.stdlib_module_names else 1


def _order(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line.split()[1]


def problem_with(name: str, root: Path) -> str | None:
    """Why there can be no provider *name*, or `None`."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        return f"{name!r} is no name of a folder: use small letters, digits and _"
    if (root / "core/llm/providers" / name).exists():
        return f"core/llm/providers/{name} exists: choose another name, or remove it first"
    return None


def main() -> int:
    """Write the files and say what to do with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--openai", action="store_true", help="on the OpenAI dialect")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository to write into")
    options = parser.parse_args()
    problem = problem_with(options.name, options.root)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    for path, text in files_of(options.name, options.root, openai=options.openai).items():
        file = options.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        print(f"wrote {path}")
    place = "QUIRKS in provider.py" if options.openai else "wire.py, and the server that plays it"
    print(
        f"\nIt passes its contract now:  pytest tests/contract/test_{options.name}.py\n"
        f"Make it true, in this order: the address in the configuration, {place},\n"
        "recordings of the real service under tests/recordings, a page under docs/providers,\n"
        "and the schema: make schema"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
