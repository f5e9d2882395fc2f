"""The source of the project, as the architecture tests read it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: Path
    module: str
    tree: ast.Module

    def at(self, line: int) -> str:
        """`file:line`, as an editor understands it."""
        return f"{self.path.relative_to(ROOT)}:{line}"


@dataclass(frozen=True)
class Import:
    """One imported module, and where."""

    source: Source
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.source.at(self.line)}: {self.source.module} imports {self.target}"


def module_name(path: Path) -> str:
    """The dotted name of the module in *path*."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def sources() -> tuple[Source, ...]:
    """Every file of the package and of the host modules."""
    files = sorted(path for folder in ("core", "modules") for path in (ROOT / folder).rglob("*.py"))
    return tuple(Source(path, module_name(path), ast.parse(path.read_text("utf-8"), path)) for path in files)


def imports_of(source: Source) -> Iterator[Import]:
    """Every import in *source*, inside functions and for type checkers as well."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(source, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            for alias in node.names:
                # `from core.llm import testing` names a module, `from core.llm import LLMService` does not.
                whole = f"{base}.{alias.name}"
                yield Import(source, node.lineno, whole if is_module(whole) else base)


@cache
def is_module(name: str) -> bool:
    """True where *name* is a module or package of this project."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def inside(module: str, place: str) -> bool:
    """True where *module* is *place* or below it."""
    return module == place or module.startswith(place + ".")
