"""`core-llm swap`: one value of the file changes, applications follow, and what cannot be swapped is left alone."""

import asyncio
import stat
from pathlib import Path

import pytest

from modules.cli.alias_edit import NotEditable, edit_of
from tests.modules.commands import Ollama, core_llm
from tests.residency.service import Served, eventually


def test_one_value_changes_and_nothing_else(mixed_config: Path, ollama: Ollama) -> None:
    """Comments, order, quotes and mode stay; the model is loaded before anyone is sent to it."""
    before = mixed_config.read_text()
    mixed_config.chmod(0o640)
    done = core_llm(mixed_config, "swap", "fast", "ollama/b")
    assert done.returncode == 0
    assert done.stdout == f"fast: openai/gpt → ollama/b ({mixed_config}:5:17)\n"
    assert "from their next call on" in done.stderr
    assert mixed_config.read_text() == before.replace("use: openai/gpt,", "use: ollama/b,")
    assert ollama.in_memory() == {"b:latest"}
    assert stat.S_IMODE(mixed_config.stat().st_mode) == 0o640
    assert sorted(path.name for path in mixed_config.parent.iterdir()) == ["llm.yaml"]
    done = core_llm(mixed_config, "swap", "fast", "ollama/b")
    assert (done.returncode, done.stdout) == (0, f"fast means ollama/b already ({mixed_config}:5:17)\n")


def test_the_short_form_and_quotes_and_line_ends_are_kept(mixed_config: Path, ollama: Ollama) -> None:
    """Also in a file that was written on Windows, and for a name that needs quotes."""
    before = mixed_config.read_bytes().replace(b"\n", b"\r\n")
    mixed_config.write_bytes(before)
    assert core_llm(mixed_config, "swap", "smart", "ollama/b:latest").returncode == 0
    assert mixed_config.read_bytes() == before.replace(b'smart: "ollama/a"', b'smart: "ollama/b:latest"')
    assert core_llm(mixed_config, "swap", "fast", "ollama/b:latest", "--no-load").returncode == 0
    assert b'use: "ollama/b:latest",' in mixed_config.read_bytes()


def test_a_link_to_the_file_stays_a_link(mixed_config: Path, ollama: Ollama) -> None:
    """The file that it names is edited."""
    link = mixed_config.with_name("linked.yaml")
    link.symlink_to(mixed_config)
    assert core_llm(link, "swap", "fast", "acme/m").returncode == 0
    assert link.is_symlink()
    assert "use: acme/m" in mixed_config.read_text()


def test_a_worker_model_is_not_loaded_for_it(mixed_config: Path) -> None:
    """It would be loaded in the wrong process; the command says who loads it, and how to see whether it can be."""
    done = core_llm(mixed_config, "swap", "fast", "local/tiny")
    assert done.returncode == 0
    assert "`core-llm load local/tiny` says beforehand" in done.stderr


@pytest.mark.parametrize(
    ("alias", "model", "told"),
    [
        ("nobody", "ollama/b", "'nobody' is no alias, so it cannot be swapped; aliases are: fast, smart, mixed"),
        ("fast", "nonsense", "nothing is called 'nonsense'"),
        ("fast", "fast", "fast cannot mean itself"),
        ("smart", "openai/gpt", "openai is off"),
        ("fast", "ollama/missing", "The file was not changed."),
        ("mixed", "ollama/b", "mixed is not one model in one place of a file"),
    ],
)
def test_what_cannot_be_swapped_changes_nothing(
    mixed_config: Path, ollama: Ollama, alias: str, model: str, told: str
) -> None:
    """One clear message, exit code 1, the file as it was."""
    before = mixed_config.read_text()
    done = core_llm(mixed_config, "swap", alias, model)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert mixed_config.read_text() == before


def test_a_value_that_is_not_plainly_there_is_left_to_a_person(mixed_config: Path, ollama: Ollama) -> None:
    """A substitution, a variable of the environment, a folded text: each says where to edit."""
    text = mixed_config.read_text()
    mixed_config.write_text(text.replace('smart: "ollama/a"', "smart: ${SMART:-ollama/a}"))
    done = core_llm(mixed_config, "swap", "smart", "ollama/b")
    assert done.returncode == 1
    assert f"{mixed_config}:6:12: the value is not written there as plain text on one line" in done.stderr
    assert "edit it by hand: let models.smart name ollama/b" in done.stderr
    mixed_config.write_text(text)
    done = core_llm(mixed_config, "swap", "smart", "ollama/b", LLM__MODELS__SMART="ollama/a")
    assert done.returncode == 1
    assert "LLM__MODELS__SMART" in done.stderr
    assert mixed_config.read_text() == text


def test_an_edit_that_is_refused_is_undone(mixed_config: Path, ollama: Ollama) -> None:
    """Two aliases that name each other: every mistake is shown, and the file is as it was."""
    text = mixed_config.read_text().replace('smart: "ollama/a"', "smart: fast")
    mixed_config.write_text(text.replace("use: openai/gpt", "use: acme/m"))
    before = mixed_config.read_text()
    done = core_llm(mixed_config, "swap", "fast", "smart", "--no-load")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the file is as it was:\n" in done.stderr
    assert f"  {mixed_config}:" in done.stderr
    assert mixed_config.read_text() == before


def test_what_somebody_else_writes_in_the_same_moment_is_not_lost(mixed_config: Path) -> None:
    """The edit is refused instead."""
    edit = edit_of(mixed_config, 5, 17, "openai/gpt", "ollama/b")
    mixed_config.write_text(mixed_config.read_text() + "# somebody else\n")
    with pytest.raises(NotEditable, match="edited by somebody else"):
        edit.apply()
    assert "use: openai/gpt," in mixed_config.read_text()
    assert "# somebody else" in mixed_config.read_text()


async def test_a_running_application_follows_the_file(mixed_config: Path, ollama: Ollama) -> None:
    """Its next call goes to the new model; nobody had to restart anything."""
    async with Served(str(mixed_config), watch=True) as served:
        assert (await served.llm.generate("hi", model="smart")).model == "a"
        done = await asyncio.to_thread(core_llm, mixed_config, "swap", "smart", "ollama/b")
        assert done.returncode == 0
        await eventually(lambda: str(served.llm.explain("hi", model="smart").first) == "ollama/b")
        assert (await served.llm.generate("hi", model="smart")).model == "b"
