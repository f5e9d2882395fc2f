"""`core-llm` as a person meets it: bars, a live table, a terminal that stays in order."""

import re
from pathlib import Path

import pytest

from tests.modules.commands import Ollama, begun, core_llm, slow_download
from tests.modules.terminal import terminal


def test_a_pull_has_a_bar_with_rate_and_time_left(mixed_config: Path, ollama: Ollama) -> None:
    """On one line, which is gone in the end."""
    ollama.server.publish(slow_download("new"))
    with terminal("modules.cli", "pull", "ollama/new", "--config", str(mixed_config)) as shell:
        shell.see("pulling ollama/new  █")
        shell.see("s left")
        shell.see("ollama/new is there: 1.0 MB\n")
        assert shell.ended() == 0
    shown = shell.raw.decode()
    states = [part for part in shown.split("\r\x1b[K") if "█" in part]
    assert len(states) > 3
    assert all(len(state) < 80 and "\n" not in state for state in states)
    assert any(re.search(r"█+░+  \d\d%  \d\.\d MB of 6\.0 MB  \d.*B/s  \d+ s left$", state) for state in states)
    shares = [int(re.search(r"(\d+)%", state)[1]) for state in states]
    assert shares == sorted(shares)


def test_a_load_counts_the_seconds(mixed_config: Path, ollama: Ollama) -> None:
    """Where the server tells no steps."""
    ollama.server.store.installed["a:latest"].load_seconds = 4.0
    with terminal("modules.cli", "load", "ollama/a", "--config", str(mixed_config)) as shell:
        shell.see("ollama/a is loaded: ")
        assert float(shell.see(" s").removesuffix(" s")) >= 4.0
        assert shell.ended() == 0
        # Not each of them, where the machine stood still for a second.
        assert re.search("loading ollama/a  [1-9] s", shell.shown)


def test_ctrl_c_leaves_the_terminal_in_order(mixed_config: Path, ollama: Ollama) -> None:
    """The bar is gone, the message stands on its own line."""
    ollama.server.publish(slow_download("new", 400))
    with terminal("modules.cli", "pull", "ollama/new", "--config", str(mixed_config)) as shell:
        shell.see("█")
        shell.interrupt()
        shell.see("goes on from there")
        assert shell.ended() == 130
    assert re.search(rb"\r\x1b\[K(?:\^C)?interrupted at", shell.raw)
    assert b"Traceback" not in shell.raw


@pytest.mark.parametrize("columns", [80, 40])
def test_the_live_table_follows_what_happens_without_wrapping(mixed_config: Path, ollama: Ollama, columns: int) -> None:
    """It is drawn over itself in one piece, within the width, the cursor hidden meanwhile and back in the end."""
    arguments = ("status", "--watch", "--interval", "0.2", "--config", str(mixed_config))
    with terminal("modules.cli", *arguments, columns=columns) as shell:
        shell.see("MODEL")
        shell.see("unloaded")
        assert core_llm(mixed_config, "load", "ollama/a").returncode == 0
        shell.see("   loaded")
        assert core_llm(mixed_config, "unload", "ollama/a").returncode == 0
        shell.see("ollama/a         unloaded")
        shell.interrupt()
        assert shell.ended() == 0
    shown = shell.raw.decode()
    assert shown.startswith("\x1b[?25l")
    assert shown.rstrip().endswith("\x1b[?25h")
    assert "\x1b[2J" not in shown
    frames = re.split(r"\x1b\[\d+A", shown)
    assert len(frames) >= 3
    lines = re.sub(r"\x1b\[[?0-9]*[a-zA-Z]|\r", "", shown).split("\n")
    assert max(map(len, lines)) < columns


def test_the_live_table_fits_a_low_terminal(mixed_config: Path, ollama: Ollama) -> None:
    """What does not fit is counted: a block that scrolls cannot be drawn over."""
    arguments = ("status", "--watch", "--config", str(mixed_config))
    with terminal("modules.cli", *arguments, lines=5) as shell:
        shell.see("more lines")
        shell.interrupt()
        assert shell.ended() == 0


def test_stay_shows_the_worker_model_in_memory(mixed_config: Path) -> None:
    """With its memory, and how long it has been idle."""
    with terminal("modules.cli", "load", "local/tiny", "--stay", "--config", str(mixed_config)) as shell:
        shell.see("loading local/tiny")
        shell.see("Ctrl-C ends this and unloads it")
        row = shell.see("   loaded") + shell.see("\n")
        assert re.search(r"\d+ MB  cpu +0 +\d+ s", row), row
        shell.interrupt()
        assert shell.ended() == 0


def test_a_watch_into_a_pipe_writes_the_table_when_it_has_changed(mixed_config: Path, ollama: Ollama) -> None:
    """And only then; no escape sequence in it."""
    with begun(mixed_config, "status", "--watch", "--interval", "0.2") as process:
        first = [process.stdout.readline() for _ in range(4)]
        assert any(re.fullmatch(r"ollama/a +unloaded\n", line) for line in first), first
        assert core_llm(mixed_config, "load", "ollama/a").returncode == 0
        rest = ""
        while not re.search(r"ollama/a +loaded", rest):
            line = process.stdout.readline()
            assert line
            rest += line
    assert rest.count("MODEL") == 1
    assert "\x1b" not in rest
