"""The loop and what it makes of answers, with a scripted provider behind the service."""

import io
from typing import Any

import pytest

from core.container import Container
from core.llm import ProviderError, ProviderModule
from core.llm.testing import SCRIPTED
from core.llm.testing.script import Script
from modules.chat import keyboard
from modules.chat.module import ChatModule
from modules.chat.screen import Screen
from modules.chat.session import ChatOptions

pytestmark = pytest.mark.leakcheck


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Chat:
    """A chat that runs to its end; `out` and `err` are what it has shown."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = name
        self.script = Script.named(name)
        self.out, self.err = io.StringIO(), io.StringIO()
        self.failed: bool | None = None
        self.reader_gone = False
        self.mid_stream = "error"
        self._patch = monkeypatch.setattr

    async def run(self, *typed: str, prompt: str | None = None, given: str | None = None, **options: Any) -> int:
        """Ask *prompt*, or what is *given* on a pipe, or have a conversation of the lines *typed*."""

        async def lines() -> Any:
            for line in typed:
                yield line

        async def everything() -> str:
            return given or ""

        self._patch(keyboard, "lines", lines)
        self._patch(keyboard, "everything", everything)
        self._patch(keyboard, "is_terminal", lambda: given is None)
        config = {
            "default_model": "fast",
            "models": {
                "fast": {"use": "one/m", "mid_stream": self.mid_stream},
                "gone": {"use": "off/m", "fallback": []},
            },
            "providers": {
                "one": {"type": "scripted", "models": ["m"], "script": self.name},
                "off": {"type": "scripted", "enabled": False, "models": ["m", "n"]},
            },
            "retry": {"max_retries": 0},
        }
        module = ChatModule(ChatOptions(prompt, **options), Screen(self.out, self.err))
        container = Container([ProviderModule({"llm_service": config}, plugins=(SCRIPTED,)), module])
        code = await container.run(handle_signals=False)
        self.failed, self.reader_gone = module.result.failed, module.result.reader_gone
        return code


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Chat:
    """A chat whose provider does what `chat.script` says."""
    return Chat(request.node.name, monkeypatch)


def broken() -> ProviderError:
    """What a connection raises that is cut."""
    return ProviderError("network_error", "the connection broke", code="body_cut")


async def test_one_question_is_answered_and_ends_the_application(chat: Chat) -> None:
    """Exit code 0; the answer alone is on standard output."""
    chat.script.will_stream("Hel", "lo")
    assert await chat.run(prompt="hi") == 0
    assert (chat.out.getvalue(), chat.failed) == ("Hello\n", False)
    assert "— one/m · " in chat.err.getvalue()


async def test_a_pipe_is_one_question(chat: Chat) -> None:
    """Without the line end that a shell adds."""
    chat.script.will_answer("fine")
    await chat.run(given="two\nlines\n")
    assert chat.script.requests[0].messages[0].text == "two\nlines"


@pytest.mark.parametrize("given", ["", "  \n"])
async def test_no_question_is_a_failure(chat: Chat, given: str) -> None:
    """Nobody is asked."""
    await chat.run(given=given)
    assert chat.failed
    assert chat.script.requests == []
    assert "there is no question" in chat.err.getvalue()


async def test_a_broken_stream_keeps_what_was_delivered(chat: Chat) -> None:
    """And says where it broke off."""
    chat.script.will_stream("It was ", "a dark", broken())
    await chat.run(prompt="hi")
    assert (chat.out.getvalue(), chat.failed) == ("It was a dark\n", True)
    assert "the answer broke off here:\n" in chat.err.getvalue()
    assert "the connection broke" in chat.err.getvalue()


async def test_an_error_before_any_output_did_not_break_off_anything(chat: Chat) -> None:
    """It is only told."""
    chat.script.will_stream(ProviderError("server_error", "on fire"))
    await chat.run(prompt="hi")
    assert (chat.out.getvalue(), chat.failed) == ("", True)
    assert "broke off" not in chat.err.getvalue()
    assert "on fire" in chat.err.getvalue()


async def test_an_unknown_model_is_told(chat: Chat) -> None:
    """With what could have been meant."""
    await chat.run(prompt="hi", model="fsat")
    assert chat.failed
    assert "nothing is called 'fsat'" in chat.err.getvalue()


async def test_a_conversation_remembers_complete_turns_only(chat: Chat) -> None:
    """A question whose answer broke off is not sent again, and the end is no failure."""
    chat.script.will_stream("one")
    chat.script.will_stream("br", broken())
    chat.script.will_stream("three")
    assert await chat.run("first", "second", "third", system="Be brief.") == 0
    assert not chat.failed
    sent = [[message.text for message in request.messages] for request in chat.script.requests]
    assert sent == [
        ["Be brief.", "first"],
        ["Be brief.", "first", "one", "second"],
        ["Be brief.", "first", "one", "third"],
    ]


@pytest.mark.parametrize("leave", ["/quit", "/exit", "  /quit "])
async def test_quit_leaves(chat: Chat, leave: str) -> None:
    """What was typed after it is not asked."""
    await chat.run(leave, "never asked")
    assert chat.script.requests == []


COMMANDS = {
    "/models": ["+ fast", "- gone", "+ one/m", "- off/n", "not available now:", "off: enabled: false"],
    "/models ": ["+ fast"],
    "/status": ["one              scripted           ready", "off: enabled: false", "configuration 1"],
    "/explain": ["the default model", "one/m: first"],
    "/explain gone": ["off/m: skipped (enabled: false)"],
    "/explain nope": ["nothing is called 'nope'"],
    "/model one/m": ["talking to one/m"],
    "/model": ["talking to the default model"],
    "/model gone": ["no candidate of 'gone' is available: see /explain gone"],
    "/model nope": ["nothing is called 'nope'"],
    "/reset": ["the conversation was forgotten"],
    "/help": ["/models", "/quit", "Anything else is a question."],
    "/what": ["there is no command /what; /help lists them"],
}


@pytest.mark.parametrize("line", COMMANDS)
async def test_a_command_is_carried_out_and_not_asked(chat: Chat, line: str) -> None:
    """No model sees what begins with a slash."""
    await chat.run(line)
    assert chat.script.requests == []
    for expected in COMMANDS[line]:
        assert expected in chat.err.getvalue()


async def test_a_model_that_is_off_is_greeted_with_the_reason(chat: Chat) -> None:
    """First run: what to do stands where it is looked for."""
    await chat.run(model="gone", config="my.yaml")
    assert "no candidate for gone is available:\n  off/m: skipped (enabled: false)" in chat.err.getvalue()
    assert "Edit my.yaml" in chat.err.getvalue()


async def test_a_reader_that_has_gone_ends_the_conversation(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `| head -1`: no traceback, and the exit code is for the caller."""

    def gone(text: str) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(chat.out, "write", gone)
    chat.script.will_stream("Hello")
    assert await chat.run(prompt="hi") == 0
    assert chat.reader_gone


async def test_an_answer_that_begins_again_is_told_apart_from_what_was_shown_before(chat: Chat) -> None:
    """The void beginning keeps its line; a note says who begins again."""
    chat.script.will_stream("The qui", broken())
    chat.script.will_stream("A new answer")
    chat.mid_stream = "restart"
    assert await chat.run(prompt="hi") == 0
    assert chat.out.getvalue() == "The qui\nA new answer\n"
    assert "one/m begins it again" in chat.err.getvalue()
