"""`scripts/new_provider.py` writes a provider that keeps the contract before anything in it has been changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.gguf", "recordings")


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command in the copy, which imports the copy and nothing else of this project."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the script and its result need."""
    folder = tmp_path_factory.mktemp("copy")
    for part in ("core", "tests/contract", "tests/architecture", "docs/examples", "scripts"):
        shutil.copytree(ROOT / part, folder / part, ignore=LEFT_OUT)
    for file in (ROOT / "pyproject.toml", *(ROOT / "tests").glob("*.py")):
        shutil.copy(file, folder / file.relative_to(ROOT))
    return folder


@pytest.mark.parametrize("options", [(), ("--openai",)], ids=["http", "openai"])
def test_what_is_written_passes_its_contract_and_the_linter(copy: Path, options: tuple[str, ...]) -> None:
    """As generated: from here on every change is checked."""
    name = "north_wind" if options else "south_wind"
    title = "NorthWind" if options else "SouthWind"
    written = run("scripts/new_provider.py", name, *options, "--root", copy, cwd=copy)
    assert written.returncode == 0, written.stderr
    files = [line.removeprefix("wrote ") for line in written.stdout.splitlines() if line.startswith("wrote ")]
    assert f"core/llm/providers/{name}/__init__.py" in files
    text = "".join((copy / file).read_text() for file in files)
    assert "acme" not in text.lower()
    assert f"class {title}Provider" in text

    linted = run("-m", "ruff", "check", "--no-cache", *files, cwd=copy)
    assert linted.returncode == 0, linted.stdout
    assert run("-m", "ruff", "format", "--no-cache", "--check", *files, cwd=copy).returncode == 0
    tested = run("-m", "pytest", "-q", f"tests/contract/test_{name}.py", "tests/architecture/test_imports.py", cwd=copy)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    known = run("-c", f"from core.llm.factory.discovery import builtin_spec as b; print(b({name!r}).name)", cwd=copy)
    assert known.stdout.strip() == name


@pytest.mark.parametrize("name", ["ollama", "Bad", "../up", "class", "two-words"])
def test_a_name_that_cannot_be_is_refused(copy: Path, name: str) -> None:
    """Nothing is written, and nothing that exists is overwritten."""
    before = sorted((copy / "core/llm/providers").iterdir())
    refused = run("scripts/new_provider.py", name, "--root", copy, cwd=copy)
    assert refused.returncode == 2
    assert refused.stderr
    assert sorted((copy / "core/llm/providers").iterdir()) == before
