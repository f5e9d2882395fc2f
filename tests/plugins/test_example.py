"""The example package under docs/examples: built, installed from its wheel, used, tested, and taken away again."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "acme_provider"
HOST = """
import asyncio, sys
from core.container import Container
from core.llm import ConfigError, LLMService, ProviderModule
from core.llm.testing import UpstreamAnswer
from acme_server import AcmeServer

TEXT = '''\
llm_service:
  plugins: {allow: [%s]}
  providers:
    mine: {type: acme, base_url: "%s", api_key: k, models: [acme-large]}
'''

async def main(allowed, path):
    async with AcmeServer() as server:
        path = path + "/llm.yaml"
        open(path, "w").write(TEXT % (allowed, server.url))
        server.answer(UpstreamAnswer(("Hello ", "from Acme")))
        async with Container([ProviderModule(path, watch=False, env={})]) as container:
            async with container.get(LLMService).stream("hi", temperature=0.5) as stream:
                print((await stream.response()).content, server.received[0]["warmth"])

try:
    asyncio.run(main(*sys.argv[1:]))
except ConfigError as error:
    print(error)
"""


def run(*command: object, cwd: Path, path: tuple[Path, ...] = ()) -> str:
    """What a command prints, which must succeed; it sees the packages in *path* and no network."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONPATH": ":".join(map(str, (*path, ROOT)))}
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy by what this environment has."""
    pytest.importorskip("hatchling", reason="the `test` group is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    run("-m", "pip", "wheel", *offline, "--wheel-dir", folder, folder / "source", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def site(wheel: Path, tmp_path: Path) -> Path:
    """A directory that the wheel is installed into."""
    folder = tmp_path / "site"
    offline = ("--no-index", "--no-deps", "--disable-pip-version-check", "--quiet")
    run("-m", "pip", "install", *offline, "--target", folder, wheel, cwd=tmp_path)
    return folder


def test_the_installed_wheel_is_used_where_it_is_allowed_and_missed_when_it_is_gone(site: Path, tmp_path: Path) -> None:
    """The life of a plugin in an application: installed, allowed, forgotten, removed."""
    path = (site, EXAMPLE / "tests")
    assert run("-c", HOST, "acme", tmp_path, cwd=tmp_path, path=path) == "Hello from Acme 0.5\n"

    refused = run("-c", HOST, "", tmp_path, cwd=tmp_path, path=path)
    assert "llm.yaml:4:18: providers.mine.type: unknown provider type `acme`" in refused
    assert "the installed package acme-provider 0.1.0 offers it: add acme to `plugins.allow`" in refused

    shutil.rmtree(site)
    gone = run("-c", HOST, "acme", tmp_path, cwd=tmp_path, path=path)
    assert "llm.yaml:4:18: providers.mine.type: unknown provider type `acme`" in gone
    assert "no installed package offers an entry point 'acme'" in gone


def test_its_own_tests_pass_against_the_installed_wheel(site: Path, tmp_path: Path) -> None:
    """As its author runs them."""
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLE / "pyproject.toml", tmp_path)
    options = ("-q", "-p", "no:cacheprovider", "-p", "core.llm.testing.pytest_plugin")
    printed = run("-m", "pytest", *options, "tests", cwd=tmp_path, path=(site,))
    assert "40 passed" in printed


def test_a_whole_provider_is_less_than_a_hundred_lines_of_code() -> None:
    """Without empty lines, docstrings and comments; the documentation says so."""
    lines = 0
    for file in (EXAMPLE / "acme_provider").glob("*.py"):
        tree = ast.parse(file.read_text())
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        for node in ast.walk(tree):
            if isinstance(node, kinds) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        lines += len({node.lineno for node in ast.walk(tree) if hasattr(node, "lineno")})
    assert 50 < lines < 100
