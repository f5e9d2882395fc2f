"""`core-llm models`, `status`, `explain`, `check`, `schema`: what a script gets to read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.llm.testing import WireServer
from tests.modules.commands import COMMAND, SECRET, Ollama, begun, core_llm
from tests.modules.terminal import ROOT, environment

WORKER = "worker: each application loads such a model for itself, in a process of its own; those of others are not seen"


def test_models_shows_each_with_its_life_context_and_price(mixed_config: Path, ollama: Ollama) -> None:
    """Hosted, off, on a server, missing there, only there, and in workers."""
    core_llm(mixed_config, "load", "ollama/b")
    done = core_llm(mixed_config, "models")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout
        == f"""\
ALIAS  MODELS
fast   openai/gpt → ollama/a
smart  ollama/a
mixed  ollama/a → ollama/b

MODEL            STATE     MEMORY  DEVICE  CONTEXT  PRICE/M
openai/gpt       off
acme/m           hosted                       128k  1.5 / 6
ollama/a         unloaded                       4k
ollama/gone      missing
local/tiny       worker            cpu         512  free
ollama/b:latest  loaded    1.0 MB               4k
openai is off: api_key ({mixed_config}:11): environment variable NO_SUCH_KEY is not set
ollama/gone is not on its server: core-llm pull ollama/gone
{WORKER}
"""
    )


def test_status_asks_every_provider_and_shows_local_models_only(mixed_config: Path, ollama: Ollama) -> None:
    """What keeps calls away is told at its full length."""
    done = core_llm(mixed_config, "status")
    assert done.returncode == 0
    providers, models = done.stdout.split("\n\n")
    assert providers.splitlines()[0].split() == ["PROVIDER", "TYPE", "STATE", "DETAIL"]
    rows = {line.split()[0]: line.split()[1:3] for line in providers.splitlines()[1:5]}
    assert rows["openai"] == ["openai", "off"]
    assert rows["ollama"] == ["ollama", "ready"]
    assert rows["local"] == ["llama_cpp", "ready"]
    assert "NO_SUCH_KEY is not set" in providers
    assert "ollama/a" in models
    assert "acme/m" not in models


def test_a_server_that_is_away_is_told_and_nothing_fails(mixed_config: Path, ollama: Ollama) -> None:
    """Its models are unreachable, not unloaded; the reason says what to do."""
    mixed_config.write_text(mixed_config.read_text().replace(ollama.server.url, "http://127.0.0.1:1"))
    done = core_llm(mixed_config, "models")
    assert done.returncode == 0
    assert "ollama/a     unreachable" in done.stdout
    assert done.stdout.count("ollama does not answer: no Ollama server at http://127.0.0.1:1") == 1
    assert "`ollama serve`" in core_llm(mixed_config, "status").stdout


def test_a_look_changes_nothing(mixed_config: Path, ollama: Ollama, tmp_path: Path) -> None:
    """No preload, no pin, no ledger, no call: neither on the server nor on disk."""
    mixed_config.write_text(
        mixed_config.read_text()
        + "  residency: {preload: [ollama/a], pinned: [smart], preload_mode: required}\n"
        + f"  state: {{backend: sqlite, path: {tmp_path}/state.db}}\n"
    )
    for command in ("models", "status", "check", "explain"):
        core_llm(mixed_config, command)
    assert ollama.in_memory() == set()
    assert {call.path for call in ollama.server.calls} <= {
        "/api/tags",
        "/api/ps",
        "/api/show",
        "/api/version",
        "/models",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["llm.yaml"]
    pinned = next(line for line in core_llm(mixed_config, "models").stdout.splitlines() if line.startswith("ollama/a"))
    assert "yes" in pinned


def test_explain_says_where_a_request_would_go(mixed_config: Path, ollama: Ollama) -> None:
    """Without a candidate it fails; an unknown name is one line."""
    done = core_llm(mixed_config, "explain", "hello", "there", "--model", "fast")
    assert done.returncode == 0
    assert "openai/gpt: skipped" in done.stdout
    assert "ollama/a: first" in done.stdout
    assert ollama.server.calls_to("/api/chat") == []
    assert core_llm(mixed_config, "explain", "--model", "openai/gpt").returncode == 1
    done = core_llm(mixed_config, "explain", "--model", "fsat")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("core-llm explain: nothing is called 'fsat'")
    assert done.stderr.count("\n") == 1


def test_check_counts_what_can_be_used(mixed_config: Path) -> None:
    """And says which providers are off."""
    done = core_llm(mixed_config, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{mixed_config} can be used: 4 providers, 5 models, 3 aliases\n"
        f"  openai is off: api_key ({mixed_config}:11): environment variable NO_SUCH_KEY is not set\n"
    )


def test_check_lists_every_mistake_with_its_place_and_exits_2(mixed_config: Path) -> None:
    """File, line, column; so does every other command."""
    text = mixed_config.read_text().replace("api_key: sk", "api_kye: sk").replace("path: embedded", "pth: embedded")
    mixed_config.write_text(text)
    done = core_llm(mixed_config, "check")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{mixed_config}:15:7: providers.acme.api_kye: unknown key (did you mean" in done.stderr
    assert f"{mixed_config}:18:" in done.stderr
    assert "Traceback" not in done.stderr
    assert core_llm(mixed_config, "models").returncode == 2
    assert core_llm(mixed_config.with_name("none.yaml"), "load", "x").returncode == 2


def test_wrong_arguments_exit_2_with_the_usage() -> None:
    """A command that is not there, none at all, one without its name, a senseless interval."""
    for arguments in (["lod"], [], ["load"], ["status", "--interval", "nan"]):
        done = subprocess.run(
            [*COMMAND, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=100, check=False
        )
        assert done.returncode == 2, arguments
        assert "usage: core-llm" in done.stderr


def test_the_option_of_the_configuration_may_stand_before_or_after(mixed_config: Path) -> None:
    """As people type it."""
    command = [*COMMAND, "--config", str(mixed_config), "check"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=100, check=False
    )
    assert f"{mixed_config} can be used" in done.stdout


def test_the_schema_is_one_that_accepts_the_shipped_example(mixed_config: Path) -> None:
    """Printed without reading any configuration."""
    import jsonschema
    import yaml

    done = core_llm(mixed_config.with_name("none.yaml"), "schema")
    assert done.returncode == 0
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load((ROOT / "config" / "llm.yaml").read_text()), schema)


def test_no_secret_is_ever_printed(mixed_config: Path, ollama: Ollama) -> None:
    """Neither in a table nor in an error of the configuration or of the server."""
    texts = [core_llm(mixed_config, *command.split()) for command in ("models", "status", "check", "explain")]
    mixed_config.write_text(
        mixed_config.read_text().replace("api_key: sk", "api_key: [sk").replace("7890\n", "7890]\n")
    )
    texts.append(core_llm(mixed_config, "check"))
    assert texts[-1].returncode == 2
    assert not any(SECRET in text.stdout + text.stderr for text in texts)


def test_a_name_from_a_server_cannot_drive_the_terminal(mixed_config: Path, ollama: Ollama) -> None:
    """Escape sequences in names of models do nothing."""
    spec = ollama.server.store.find("b")
    ollama.server.store.add([type(spec)("ev\x1b[31mil\x07")])
    done = core_llm(mixed_config, "models")
    assert "ollama/ev[31mil" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_reader_that_leaves_ends_it_quietly(mixed_config: Path) -> None:
    """As with `| head -1`; the watch notices by itself."""
    for command in (["schema"], ["status", "--watch", "--interval", "0.2"]):
        with begun(mixed_config, *command) as process:
            assert process.stdout.readline()
            process.stdout.close()
            assert process.wait(60) == 0, command
            assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("redirection", "code"),
    [(">&-", 0), ("> /dev/full", 1), ("2>&-", 0)],
    ids=["closed output", "full disk", "closed errors"],
)
def test_an_output_that_takes_nothing_is_no_traceback(mixed_config: Path, redirection: str, code: int) -> None:
    """A full disk is a failure with its reason."""
    done = subprocess.run(
        f"exec {sys.executable} -m modules.cli check --config {mixed_config} {redirection}",
        shell=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        timeout=100,
        check=False,
    )
    assert done.returncode == code
    assert done.stderr == ("core-llm check: No space left on device\n" if code else "")


def test_a_terminal_without_the_letters_gets_question_marks(mixed_config: Path) -> None:
    """Not every locale has an arrow."""
    done = core_llm(mixed_config, "models", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "fast   openai/gpt ? ollama/a" in done.stdout


def test_the_command_is_installed_under_its_name() -> None:
    """The entry point of the distribution leads to `main`."""
    import tomllib

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["core-llm"].partition(":")
    code = f"import sys, {module} as found; sys.exit(found.{function}(['--help']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=100, check=False
    )
    assert done.returncode == 0
    assert all(
        name in done.stdout for name in ("models", "load", "unload", "pull", "swap", "status", "130 interrupted")
    )


def test_a_provider_without_a_life_of_models_needs_no_server(config: Path, server: WireServer) -> None:
    """A hosted model has no state in memory, and nothing is sent to find out."""
    done = core_llm(config, "models")
    assert "acme/m" in done.stdout
    assert server.requests == []
