"""The import table: who may import whom. Every arrow between folders points down, none sideways.

An import that breaks it is fixed by moving the thing to where both may reach it, or by handing it in; see
docs/architecture.md. The table is changed only together with that page.
"""

import pytest

from tests.architecture.source import ROOT, Import, Source, imports_of, inside, is_module, sources

LEVELS: tuple[tuple[str, ...], ...] = (
    ("modules",),
    ("core.llm",),  # its own files: service, client, module …
    ("core.llm.runtime",),
    ("core.llm.factory",),
    ("core.llm.observability", "core.llm.providers.config"),
    ("core.llm.pipeline",),
    ("core.llm.routing", "core.llm.residency", "core.llm.accounting", "core.llm.structured"),
    ("core.llm.state", "core.llm.limiting"),
    ("core.llm.providers",),  # each concrete provider
    (
        "core.llm.providers.openai_server",
        "core.llm.providers.local_provider",
    ),  # what providers of servers of one's own, or of models on this machine, share
    ("core.llm.providers.openai_style", "core.llm.providers.local_dialect", "core.llm.providers.local_models"),
    (
        "core.llm.providers.local_calls",
        "core.llm.providers.local_config",
        "core.llm.providers.local_files",
    ),  # what providers of models in worker processes share
    ("core.llm.dialects",),
    ("core.llm.providers.base",),
    ("core.llm.transport",),
    ("core.llm.providers.config.models",),
    ("core.llm.data",),
    ("core.llm.common",),
)
"""From the top down; a folder may import itself and whatever stands on a lower line."""

NEVER: tuple[tuple[str, str], ...] = (
    ("core.llm.dialects", "core.llm.transport"),
    ("core.llm.pipeline", "core.llm.dialects"),
    ("core.llm.pipeline", "core.llm.transport"),
    ("core.llm.routing", "core.llm.dialects"),
    ("core.llm.structured", "core.llm.dialects"),
    ("core.llm.routing", "core.llm.transport"),
    ("core.llm.structured", "core.llm.transport"),
)
"""Arrows that would point down and are refused all the same: a dialect translates, the pipeline asks a provider."""

THIRD_PARTIES: dict[str, tuple[str, ...]] = {
    "aiohttp": ("core.llm.transport", "core.llm.testing"),
    "botocore": ("core.llm.transport.aws_signing",),
    "multidict": ("core.llm.transport",),
    "yarl": ("core.llm.transport",),
    "watchdog": ("core.llm.providers.config.folder_events",),
    "yaml": ("core.llm.providers.config.yaml_tree",),
    "loguru": ("core.journal", "core.llm.common.log", "core.llm.observability", "modules"),
    "xllamacpp": ("core.llm.providers.llama_cpp",),
    **dict.fromkeys(
        ("jinja2", "llguidance", "sentence_transformers", "torch", "transformers"), ("core.llm.providers.transformers",)
    ),
    "injector": (
        "core.container", "core.graph", "core.hooks", "core.injection", "core.lifecycle", "core.llm.bindings",
        "core.llm.chat_model", "core.llm.module", "core.llm.on_demand", "modules",
    ),
    "azure": ("core.llm.transport.entra_token",),
    "google": ("core.llm.transport.google_token",),
    "pydantic": ("core.llm",),
    "pydantic_core": ("core.llm",),
    # For type checkers only, which bring it.
    "typing_extensions": ("core.llm.common.types",),
    "pytest": ("core.llm.testing",),
    "pytest_asyncio": ("core.llm.testing",),
    "trustme": ("core.llm.testing",),
}  # fmt: skip
"""Where a third-party library may be imported; what is not listed may be imported nowhere."""

PURE = ("core.llm.dialects", "core.llm.limiting", "core.llm.routing", "core.llm.structured")
IMPURE = (
    "aiohttp",
    "asyncio",
    "logging",
    "loguru",
    "multiprocessing",
    "os",
    "socket",
    "subprocess",
    "threading",
    "time",
)
"""What a folder of pure functions has no use for."""

PUBLIC = ("core.container", "core.lifecycle", "core.llm", "core.llm.testing", "modules")
"""What a host may import."""

_NOT_CONCRETE = (
    "core.llm.providers.base",
    "core.llm.providers.config",
    "core.llm.providers.local_calls",
    "core.llm.providers.local_config",
    "core.llm.providers.local_dialect",
    "core.llm.providers.local_files",
    "core.llm.providers.local_models",
    "core.llm.providers.local_provider",
    "core.llm.providers.openai_server",
    "core.llm.providers.openai_style",
)
_PLACES = sorted((place for level in LEVELS for place in level), key=len, reverse=True)


def all_imports() -> list[Import]:
    """Every import of the project."""
    return [one for source in sources() for one in imports_of(source)]


def own_imports() -> list[Import]:
    """Every import of one part of the project by another."""
    return [one for one in all_imports() if one.target.split(".")[0] in {"core", "modules"}]


def is_concrete(module: str) -> bool:
    """True where *module* belongs to one concrete provider."""
    return inside(module, "core.llm.providers") and module.count(".") >= 3 and not module.startswith(_NOT_CONCRETE)


def place_of(module: str) -> str:
    """The line of the table that *module* stands on."""
    if is_concrete(module):
        return ".".join(module.split(".")[:4])
    return next((place for place in _PLACES if inside(module, place)), "core")


def level_of(place: str) -> int:
    """The number of the line, from the top."""
    name = "core.llm.providers" if is_concrete(place) else place
    return next(number for number, level in enumerate(LEVELS) if name in level)


def points_down(source: str, target: str) -> bool:
    """True where *source* may import *target*."""
    if inside(source, "core.llm.testing"):
        return True  # may import everything; nobody but tests imports it
    if not inside(source, "core.llm") and not inside(source, "modules"):
        return not inside(target, "core.llm") and not inside(target, "modules")
    if not inside(target, "core.llm") and not inside(target, "modules"):
        return True  # the container and its hooks know nothing of this layer, and all may know them
    if inside(target, "core.llm.testing"):
        return False
    if any(inside(source, upper) and inside(target, lower) for upper, lower in NEVER):
        return False
    above, below = place_of(source), place_of(target)
    return above == below or level_of(above) < level_of(below)


def test_every_arrow_points_down():
    """A folder imports itself and what lies below it, type annotations and late imports included."""
    wrong = [str(one) for one in own_imports() if not points_down(one.source.module, one.target)]

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("core.container", "core.llm.service"),
        ("core.llm.common.types", "core.llm.providers.base.request"),
        ("core.llm.dialects.openai_chat", "core.llm.transport.http"),
        ("core.llm.transport.http", "core.llm.providers.base.provider"),
        ("core.llm.providers.openai.provider", "core.llm.providers.ollama.client"),
        ("core.llm.providers.openai.provider", "core.llm.pipeline.retry"),
        ("core.llm.providers.config.loader", "core.llm.factory.provider"),
        ("core.llm.providers.config.models.service", "core.llm.providers.config.loader"),
        ("core.llm.pipeline.retry", "core.llm.runtime.runtime"),
        ("core.llm.routing.router", "core.llm.pipeline.handler"),
        ("core.llm.state.memory", "core.llm.accounting.ledger"),
        ("core.llm.runtime.build", "core.llm.service"),
        ("core.llm.service", "core.llm.testing.provider"),
        ("core.llm.service", "modules.chat"),
    ],
)
def test_the_table_refuses_what_it_should(source, target):
    """An arrow up or sideways is seen."""
    assert not points_down(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("core.llm.module", "core.lifecycle"),
        ("core.llm.service", "core.llm.runtime.live"),
        ("core.llm.runtime.build", "core.llm.factory.provider"),
        ("core.llm.pipeline.route", "core.llm.routing.router"),
        ("core.llm.providers.openai.provider", "core.llm.dialects.openai_chat"),
        ("core.llm.providers.openai.config", "core.llm.providers.config.models.service"),
        ("core.llm.providers.base.http_provider", "core.llm.transport.http"),
        ("core.llm.providers.config.loader", "core.llm.providers.config.models.service"),
        ("core.llm.testing.contract", "core.llm.providers.base.provider"),
        ("modules.chat.session", "core.llm"),
    ],
)
def test_the_table_allows_what_it_should(source, target):
    """An arrow down is no offence."""
    assert points_down(source, target)


def test_nobody_imports_a_concrete_provider():
    """Providers are found through their `ProviderSpec`, so that a new one is a new folder and nothing else.

    The package's own list of public names may name a typed client; that it is loaded late is tested elsewhere.
    """
    wrong = [
        str(one)
        for one in own_imports()
        if is_concrete(one.target)
        and place_of(one.source.module) not in {place_of(one.target), "core.llm.testing"}
        and not (one.source.module == "core.llm" and one.target.endswith(".client"))
    ]

    assert not wrong, "\n".join(wrong)


def test_provider_specs_name_what_exists():
    """The strings through which a provider is loaded late lead into its own folder."""
    from core.llm.providers.base.spec import ProviderSpec

    seen = 0
    for source in sources():
        if not is_concrete(source.module) or source.path.name != "__init__.py" or source.module.count(".") != 3:
            continue
        namespace: dict = {}
        exec(compile(source.tree, source.path, "exec"), namespace)
        for spec in [value for value in namespace.values() if isinstance(value, ProviderSpec)]:
            seen += 1
            for reference in filter(None, (spec.config, spec.provider, spec.client)):
                module, _, name = reference.partition(":")
                assert inside(module, source.module), f"{source.at(1)}: {reference} is outside {source.module}"
                assert is_module(module), f"{source.at(1)}: there is no module {module}"
                assert name, f"{source.at(1)}: {reference} names no class; write module:Class"
    assert seen, "no provider folder declares a ProviderSpec"


def test_pure_folders_do_no_input_or_output():
    """Dialects and routing are functions: what they need is handed in."""
    wrong = [
        str(one) for one in all_imports() if one.source.module.startswith(PURE) and one.target.split(".")[0] in IMPURE
    ]

    assert not wrong, "\n".join(wrong)


def test_third_parties_are_imported_where_they_belong():
    """Each library has one home; replacing it touches that folder only."""
    import sys

    wrong = []
    for one in all_imports():
        library = one.target.split(".")[0]
        if library in {"core", "modules", "__future__"} or library in sys.stdlib_module_names:
            continue
        if not any(inside(one.source.module, home) for home in THIRD_PARTIES.get(library, ())):
            homes = ", ".join(THIRD_PARTIES.get(library, ())) or "nowhere: add it to the table and to pyproject.toml"
            wrong.append(f"{one} (allowed in {homes})")

    assert not wrong, "\n".join(wrong)


def test_hosts_use_the_public_names_only():
    """The modules that ship with the library are written as a user would write them."""
    wrong = [
        str(one)
        for one in own_imports()
        if inside(one.source.module, "modules") and one.target not in PUBLIC and not inside(one.target, "modules")
    ]

    assert not wrong, "\n".join(wrong)


def test_imports_are_absolute():
    """A module has one name, wherever it is mentioned."""
    import ast

    wrong = [
        source.at(node.lineno)
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert not wrong, "\n".join(wrong)


def test_every_folder_is_in_the_table():
    """A new folder has to find its place."""
    known = {place for level in LEVELS for place in level} | {"core.llm.testing"}
    folders = {
        "core.llm." + path.name
        for path in (ROOT / "core" / "llm").iterdir()
        if path.is_dir() and (path / "__init__.py").is_file()
    }

    assert not folders - known, f"not in LEVELS: {', '.join(sorted(folders - known))}"


def test_reading_imports_sees_all_of_them():
    """Inside functions, behind TYPE_CHECKING, and modules imported by name from their package."""
    import ast

    text = "if TYPE_CHECKING:\n    from core.llm import testing\ndef f():\n    import core.llm.service, os.path\n"
    source = Source(ROOT / "core" / "x.py", "core.x", ast.parse(text))

    assert [(one.line, one.target) for one in imports_of(source)] == [
        (2, "core.llm.testing"),
        (4, "core.llm.service"),
        (4, "os.path"),
    ]
