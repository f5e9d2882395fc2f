"""The chat as a person meets it: a real terminal, real keys, real signals."""

import os
import re
from pathlib import Path

import pytest

from core.llm.testing import WireServer
from core.llm.testing.wire_dialects import openai_chunk, openai_stream
from core.llm.testing.wire_steps import Head, Rst, Send, Stall, WireScript, stream
from tests.modules.conftest import config_text
from tests.modules.terminal import chat_terminal

SSE = Head(200, {"Content-Type": "text/event-stream"})
HALF = tuple(map(Send, openai_stream("It was a dark and stormy night")[:5]))


def test_a_conversation_with_every_command(config: Path, server: WireServer) -> None:
    """Each says what a person asked for, and leaves the prompt."""
    with chat_terminal("--config", str(config)) as chat:
        assert "Talking to acme/m first" in chat.see("Ctrl-D leaves")
        chat.see("\n> ")
        chat.type("/help\n")
        listed = chat.see("Anything else is a question.")
        assert all(name in listed for name in ("/models", "/model NAME", "/status", "/explain", "/reset", "/quit"))
        chat.type("/models\n")
        models = chat.see("NO_SUCH_KEY")
        assert "+ fast" in models
        assert "- openai/gpt\n" in models
        assert "+ acme/m" in models
        chat.type("/status\n")
        assert "acme             openai_compatible  ready" in chat.see("configuration 1")
        chat.type("/explain\n")
        assert "openai/gpt: skipped" in chat.see("acme/m: first")
        chat.type("what do containers do?\n")
        chat.see("Containers build objects.\n")
        assert "10 tokens (7 in, 3 out) · price unknown" in chat.see("openai/gpt not asked:")
        chat.type("and then?\n")
        again = chat.see("(first output")
        chat.see("\n> ")
        assert "not asked" not in again
        assert [m["role"] for m in server.requests[-1].json()["messages"]] == ["user", "assistant", "user"]
        chat.type("/reset\n")
        chat.see("forgotten")
        chat.type("again\n")
        chat.see("Containers")
        chat.see("\n> ")
        assert len(server.requests[-1].json()["messages"]) == 1
        chat.type("/model acme/m\n")
        chat.see("talking to acme/m")
        chat.type("/model nope\n")
        chat.see("nothing is called 'nope'")
        chat.type("/model openai/gpt2\n")
        chat.see("no candidate of 'openai/gpt2' is available")
        chat.type("/nonsense\n")
        chat.see("there is no command /nonsense")
        chat.type("/quit\n")
        assert chat.ended() == 0


def test_edits_are_shown_at_the_prompt(config: Path, server: WireServer) -> None:
    """Applied or refused, with the place; then the prompt is there again."""
    with chat_terminal("--config", str(config)) as chat:
        chat.see("\n> ")
        config.write_text(config_text(server.url, alias="quick"))
        chat.see("configuration 2 is live")
        chat.see("\n> ")
        config.write_text(config_text(server.url, alias="quick").replace("api_key", "api_kye"))
        chat.see("the edit was refused, configuration 2 stays")
        assert f"{config}:5:" in chat.see("api_key")
        chat.see("\n> ")
        chat.type("/status\n")
        chat.see("last edit refused")
        chat.type("\x04")
        assert chat.ended() == 0


def test_ctrl_c_in_an_answer_stops_cleanly_with_exit_code_0(config: Path, server: WireServer) -> None:
    """LC-12: a stop that was asked for is no failure. What had come stays on the screen."""
    server.otherwise(WireScript((SSE, *HALF, Stall())))
    with chat_terminal("--config", str(config)) as chat:
        chat.see("\n> ")
        chat.type("tell me a story\n")
        chat.see("dark")
        chat.interrupt()
        chat.see("stopped before the end of the answer")
        assert chat.ended() == 0
        assert "Traceback" not in chat.shown


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_both_keys_that_leave_the_prompt_exit_0(config: Path, key: str) -> None:
    """At once, on a fresh line."""
    with chat_terminal("--config", str(config)) as chat:
        chat.see("\n> ")
        chat.type(key)
        assert chat.ended() == 0
        assert chat.shown.endswith("\n")


def test_a_failed_answer_does_not_end_the_conversation(config: Path, server: WireServer) -> None:
    """A stream that breaks shows what was delivered and says so; the next question is answered, and leaving exits 0."""
    server.will(WireScript((SSE, *HALF, Rst())))
    with chat_terminal("--config", str(config)) as chat:
        chat.see("\n> ")
        chat.type("tell me a story\n")
        assert "It was a dark" in chat.see("the answer broke off here:")
        chat.see("acme/m")
        chat.see("\n> ")
        chat.type("once more\n")
        chat.see("Containers build objects.")
        chat.type("\x04")
        assert chat.ended() == 0


def test_a_model_cannot_drive_the_terminal(config: Path, server: WireServer) -> None:
    """Escape sequences, bells and turned letters of an answer do nothing."""
    evil = "a\x1b[31mb\x1b]0;title\x07c\x9b2Jd\u202ee\rf"
    server.otherwise(stream([openai_chunk({"content": evil}), openai_chunk({}, finish="stop"), b"data: [DONE]\n\n"]))
    with chat_terminal("--config", str(config), "hello") as chat:
        assert chat.ended() == 0
        assert "a[31mb]0;titlec2Jdef\n" in chat.shown
        for control in (b"\x1b[31m", b"\x1b]0;", b"\x07", b"\xc2\x9b", "\u202e".encode()):
            assert control not in chat.raw


def test_a_wait_says_what_it_is_for(config: Path, server: WireServer) -> None:
    """Every second, on one line that goes away when the answer comes."""
    frames = openai_stream("At last.")
    server.otherwise(WireScript((SSE, Stall(4), *map(Send, frames), Stall(0))))
    with chat_terminal("--config", str(config), "hello") as chat:
        chat.see("At last.")
        # Not each of them, where the machine stood still for a second.
        assert re.search("waiting for acme/m, [1-9] s", chat.shown)
        assert b"\r\x1b[KAt last." in chat.raw
        assert chat.ended() == 0


def test_the_shipped_model_is_seen_to_load(tmp_path: Path) -> None:
    """First run on a bare machine: the load, the answer, who answered."""
    config = tmp_path / "llm.yaml"
    local = "local: {type: llama_cpp, models: {tiny: embedded}}"
    config.write_text(f"llm_service:\n  default_model: local/tiny\n  providers:\n    {local}\n")
    with chat_terminal("--config", str(config), "What is dependency injection?") as chat:
        chat.see("loading local/tiny")
        chat.see("local/tiny is loaded (")
        chat.see("— local/tiny · ")
        assert chat.ended() == 0
    assert not os.path.exists(f"/proc/{chat.process.pid}")
