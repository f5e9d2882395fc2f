"""The documentation is true: its Python runs, its tests pass, its configurations load, its links lead somewhere."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.llm import ConfigError
from core.llm.factory.provider import LLMProviderFactory
from core.llm.providers.config.loader import ProviderTypes, load_config
from core.llm.testing import SCRIPTED, SCRIPTED_HOST
from core.llm.testing.services import SimpleResources
from tests.architecture.pages import Block, blocks_in, pages
from tests.architecture.source import ROOT

PAGES = sorted(pages())
_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def python_blocks(page: str) -> list[Block]:
    """The Python blocks of *page*."""
    return [block for block in pages()[page] if block.language in {"python", "py"}]


def is_executed(block: Block) -> bool:
    """True unless the page says why not."""
    return not block.comment.startswith("not executed")


def is_test(text: str) -> bool:
    """True where *text* holds tests, which pytest has to run."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return False
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.name.startswith(("test_", "Test"))
        for node in tree.body
    )


def groups(page: str) -> list[list[Block]]:
    """The executed blocks of *page*, each together with those that continue it."""
    found: list[list[Block]] = []
    for block in filter(is_executed, python_blocks(page)):
        if block.comment == "continues" and found:
            found.append([*found[-1], block])
        else:
            found.append([block])
    return [group for number, group in enumerate(found) if number + 1 == len(found) or len(found[number + 1]) == 1]


def run_isolated(*arguments: str, stdin: str = "", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python with this project importable, in *folder*, without the environment's secrets."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, input=stdin, cwd=folder, env=env, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page):
    """Each block as a script of its own, offline; top-level `await` is fine."""
    scripts = [group for group in groups(page) if not is_test("".join(block.text for block in group))]
    if not scripts:
        return
    plan = [
        [{"source": block.padded, "page": block.page, "place": block.place} for block in group] for group in scripts
    ]
    result = run_isolated("-m", "tests.architecture.run_page", stdin=json.dumps(plan))

    assert result.returncode == 0, result.stderr
    failures = json.loads(result.stdout.splitlines()[-1])
    assert not failures, "\n\n".join(f"{place}\n{error}" for place, error in failures)


@pytest.mark.parametrize("page", PAGES)
def test_test_blocks_pass(page, tmp_path):
    """Blocks that hold tests are run by pytest, with the plugin and nothing else."""
    files = []
    for group in groups(page):
        text = "\n\n".join(block.text for block in group)
        if is_test(text):
            name = f"test_line_{group[0].line}.py"
            (tmp_path / name).write_text(text)
            files.append(name)
    if not files:
        return
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nforbid_network = true\n"
    )
    options = ["-q", "-p", "no:cacheprovider", "-p", "core.llm.testing.pytest_plugin", "--strict-markers"]
    result = run_isolated("-m", "pytest", *options, *files, folder=tmp_path)

    assert result.returncode == 0, f"{page} (files are named after the line)\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_compile(page):
    """Also those that are not executed, which must say why."""
    for block in python_blocks(page):
        compile(block.padded, block.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if not is_executed(block):
            assert re.fullmatch(r"not executed: .{10,}", block.comment), f"{block.place}: say why it is not executed"


def configurations() -> list[Block]:
    """Every block that shows a whole configuration."""
    return [
        block
        for blocks in pages().values()
        for block in blocks
        if block.language in {"yaml", "toml"} and re.search(r"^(llm_service:|\[llm_service)", block.text, re.MULTILINE)
    ]


def load(path: Path, env: dict[str, str]) -> None:
    """Load *path* as the service would."""
    factory = LLMProviderFactory(SimpleResources(), plugins=[SCRIPTED, SCRIPTED_HOST])
    load_config(path, env, ProviderTypes(factory.config_class, factory.names))


@pytest.mark.parametrize("block", configurations(), ids=lambda block: block.place)
def test_configurations_load(block, tmp_path):
    """By the real loader, every variable set; an example of what is wrong must be refused."""
    path = tmp_path / f"{Path(block.page).stem}.{block.language}"
    path.write_text(block.padded)
    env = dict.fromkeys(_NAME.findall(block.text), "x")
    if block.comment.startswith("invalid"):
        with pytest.raises(ConfigError):
            load(path, env)
        return
    try:
        load(path, env)
    except ConfigError as error:
        pytest.fail(f"{block.place}: {error}", pytrace=False)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """Links between pages and to files of the project name what exists."""
    path = ROOT / page
    missing = [
        f"{page}:{number}: {target}"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for target in _LINK.findall(line)
        if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists()
    ]

    assert not missing, "\n".join(missing)


PUBLIC = ("core.container", "core.lifecycle", "core.llm", "core.llm.testing", "modules.cli.__main__")
INSIDE = {
    "docs/architecture.md": ("core.llm.pipeline",),
    "docs/write-a-layer.md": ("core.llm.pipeline", "core.llm.common", "core.llm.providers.base"),
    "docs/write-a-provider.md": ("core.llm.dialects",),
    "docs/providers/ollama.md": ("core.llm.providers.ollama.models",),
}
"""Pages about the inside, with what of it they show."""


@pytest.mark.parametrize("page", PAGES)
def test_examples_import_from_the_public_packages(page):
    """A host imports from four packages; what is deeper may move."""
    allowed = (*PUBLIC[3:4], *INSIDE.get(page, ()))
    deep = [
        f"{block.place}: {node.module}"
        for block in python_blocks(page)
        for node in ast.walk(compile(block.text, page, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in {"core", "modules"}
        if node.module not in PUBLIC
        and not any(node.module.startswith(f"{package}.") or node.module == package for package in allowed)
    ]

    assert not deep, "\n".join(deep)


def test_blocks_are_found_with_their_place_and_comment():
    """Line numbers are those of the page, comments belong to the next block only."""
    text = "# T\n\n<!-- continues -->\n```python\nx = 1\n```\n\ntext\n\n  ```yaml\n  a: 1\n  ```\n````md\n```python\n```\n````\n"

    assert blocks_in("p.md", text) == [
        Block("p.md", 5, "python", "x = 1\n", "continues"),
        Block("p.md", 11, "yaml", "a: 1\n", ""),
        Block("p.md", 14, "md", "```python\n```\n", ""),
    ]


def test_a_failing_block_is_named_with_its_line():
    """What a reader reports is what the test reports."""
    block = Block("docs/x.md", 40, "python", "import asyncio\nawait asyncio.sleep(0)\nassert 1 == 2, 'no'\n")
    plan = [[{"source": block.padded, "page": block.page, "place": block.place}]]
    result = run_isolated("-m", "tests.architecture.run_page", stdin=json.dumps(plan))
    ((place, error),) = json.loads(result.stdout.splitlines()[-1])

    assert place == "docs/x.md:40"
    assert 'File "docs/x.md", line 42' in error
    assert "AssertionError: no" in error
