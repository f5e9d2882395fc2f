"""The annotations of the public interface, as the type checker of a host application reads them."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

from core.llm.providers.base.request import LLMRequest, RequestOptions
from tests.architecture.pages import Block, pages
from tests.architecture.source import ROOT
from tests.architecture.test_docs import groups

HOST = Path(__file__).with_name("typed_host.py")
MYPY = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--follow-imports", "silent"]
CACHE = ROOT / ".mypy_cache"
"""Each test has a folder of its own in it: they may run at the same time, and with other options."""


def test_a_strict_type_checker_accepts_what_the_documentation_shows_and_finds_misspelt_options():
    """A host that is checked with `mypy --strict`: no error in what is right, one in each line of `mistakes`.

    `--warn-unused-ignores`, a part of `--strict`, makes a mistake that is not found an error.
    """
    command = [*MYPY, "--cache-dir", str(CACHE / "hosts"), str(HOST)]

    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    assert found.returncode == 0, found.stdout + found.stderr


def test_the_keywords_of_a_call_are_the_fields_of_a_request():
    """What an editor offers behind `llm.generate(` is what a request has."""
    assert RequestOptions.__annotations__.keys() == LLMRequest.model_fields.keys() - {"messages"}


def module_of(group: list[Block]) -> str:
    """A group of blocks as one module; top-level `await`, which a checker does not know, in a coroutine."""
    text = "\n".join(block.text for block in group)
    try:
        compile(text, group[0].page, "exec", dont_inherit=True)
    except SyntaxError:
        text = f"async def _page() -> None:\n{indent(text, '    ')}"
    return text


def test_the_code_of_the_documentation_passes_a_type_checker(tmp_path):
    """Whoever copies an example into a strictly checked application gets no error; tests may leave annotations out."""
    places: dict[str, str] = {}
    for page in sorted(pages()):
        for group in groups(page):
            name = re.sub(r"\W", "_", f"{page}_{group[0].line}")
            places[name] = group[0].place
            (tmp_path / f"{name}.py").write_text(module_of(group))
    relaxed = [
        "--allow-untyped-defs",
        "--allow-incomplete-defs",
        "--allow-untyped-calls",
        "--disable-error-code=type-abstract",
    ]
    command = [*MYPY, *relaxed, "--cache-dir", str(CACHE / "documentation"), "--no-warn-unused-ignores", str(tmp_path)]

    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    # injector's annotation of `multibind` knows elements and classes only, its documentation providers as well.
    known = 'List item 0 has incompatible type "Ref['
    wrong = [line for line in found.stdout.splitlines() if ": error:" in line and known not in line]
    named = [f"{places.get(Path(line.split(':', 1)[0]).stem, '?')} and {line.split(':', 1)[1]}" for line in wrong]
    assert not wrong, "\n".join(named)
