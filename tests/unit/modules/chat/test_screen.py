"""What is shown, and what is kept from the terminal."""

import io
from decimal import Decimal
from typing import Any

import pytest

from core.llm import (
    CallTrace,
    CandidateTrace,
    ConfigApplied,
    ConfigIssue,
    ConfigRejected,
    Cost,
    Event,
    FinishReason,
    LLMResponse,
    ModelEvent,
    ModelRef,
    TextPart,
    Usage,
    WatcherDegraded,
)
from core.llm.common.types import CallWarning
from modules.chat.screen import Screen, passed_over, summary


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal() -> tuple[Screen, Terminal]:
    """A screen whose two streams are one terminal."""
    shown = Terminal()
    return Screen(shown, shown), shown


@pytest.fixture
def log() -> tuple[Screen, io.StringIO, io.StringIO]:
    """A screen whose streams are files."""
    out, err = io.StringIO(), io.StringIO()
    return Screen(out, err), out, err


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[2J\x1b]0;t\x07", "[2J]0;t"),
        ("a\rb\x08c", "abc"),
        ("\x9b31m", "31m"),
        ("ab\u202ecd\u2066", "abcd"),
        ("żółć 漢字 🙂", "żółć 漢字 🙂"),
        ("\x1b", ""),
    ],
)
def test_an_answer_moves_no_cursor(log: Any, piece: str, shown: str) -> None:
    """Control characters go, everything that can be read stays."""
    screen, out, _ = log
    screen.text(piece)
    assert out.getvalue() == shown


def test_a_note_in_an_answer_begins_on_a_line_of_its_own(terminal: Any) -> None:
    """Also where the answer has not ended its line."""
    screen, shown = terminal
    with screen.answer():
        screen.text("half a")
        screen.note("note")
        screen.text(" line")
    assert shown.getvalue() == "half a\n\x1b[2mnote\x1b[0m\n line\n"


def test_a_note_is_neutralised_too(log: Any) -> None:
    """A provider's error text is not ours either."""
    screen, _, err = log
    screen.note("bad\x1b[31m\nworse\x07")
    assert err.getvalue() == "bad[31m\nworse\n"


def test_a_note_at_the_prompt_brings_the_prompt_back(terminal: Any) -> None:
    """Until the line is entered."""
    screen, shown = terminal
    screen.prompt()
    screen.note("edited")
    screen.entered()
    screen.note("answered")
    assert shown.getvalue() == "\n> \n\x1b[2medited\x1b[0m\n\n> \x1b[2manswered\x1b[0m\n"


def test_a_status_is_overwritten_and_never_in_the_midst_of_an_answer(terminal: Any) -> None:
    """The line is gone as soon as there is something to read."""
    screen, shown = terminal
    screen.status("waiting, 1 s")
    screen.status("waiting, 2 s")
    screen.text("Hello")
    screen.status("waiting, 3 s")
    wait = "\r\x1b[K\x1b[2mwaiting, {} s\x1b[0m"
    assert shown.getvalue() == wait.format(1) + wait.format(2) + "\r\x1b[KHello"


def test_a_log_has_no_status_no_prompt_and_no_colour(log: Any) -> None:
    """Nothing that a file could not show."""
    screen, out, err = log
    screen.status("waiting")
    screen.prompt()
    screen.note("done")
    screen.leave()
    assert (out.getvalue(), err.getvalue()) == ("", "done\n")


REFUSED = """\
the edit was refused, configuration 3 stays:
  llm.yaml:6:26: providers.openai.api_kye: unknown key (did you mean 'api_key'?)
"""
ISSUE = ConfigIssue("unknown key", "providers.openai.api_kye", "llm.yaml", 6, 26, "did you mean 'api_key'?")


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (ConfigApplied(1, (), 0.1), ""),
        (ConfigApplied(2, ("a: 1 → 2", "b: added"), 0.1), "configuration 2 is live: a: 1 → 2; b: added\n"),
        (ConfigApplied(3, (), 0.1, ("state",)), "configuration 3 is live: no change\n  state: needs a restart\n"),
        (ConfigRejected((ISSUE,), 3), REFUSED),
        (ModelEvent("local/tiny", "load", "loading"), ""),
        (ModelEvent("local/tiny", "load", "ready", message="0.13 s"), "local/tiny is loaded (0.13 s)\n"),
        (ModelEvent("ollama/q", "pull", "success"), "ollama/q is pulled\n"),
        (ModelEvent("a/b", "load", "failed", message="no such file"), "a/b could not be loaded: no such file\n"),
        (ModelEvent("a/b", "crash", "failed"), "a/b: the worker process crashed\n"),
        (
            WatcherDegraded("inotify limit"),
            "file events are not available (inotify limit): edits are found by polling\n",
        ),
    ],
)
def test_events_become_lines(log: Any, event: Event, shown: str) -> None:
    """The first configuration is no news."""
    screen, _, err = log
    screen.on_event(event)
    assert err.getvalue() == shown


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (ModelEvent("local/tiny", "load", "loading"), "loading local/tiny  0 s"),
        (
            ModelEvent("local/big", "load", "loading", 5, 20),
            "loading local/big  ██████░░░░░░░░░░░░░░░░░░  25%  5 of 20",
        ),
        (
            ModelEvent("ollama/q", "pull", "pulling layer", 1.5e9, 2e9),
            "pulling ollama/q  ██████████████████░░░░░░  75%  1.5 GB of 2.0 GB",
        ),
    ],
)
def test_progress_is_shown_as_it_goes(terminal: Any, event: Event, shown: str) -> None:
    """On a line that is overwritten."""
    screen, seen = terminal
    screen.on_event(event)
    assert seen.getvalue() == f"\r\x1b[K\x1b[2m{shown}\x1b[0m"


def a_response(**fields: Any) -> LLMResponse:
    """An answer with everything that the summary shows."""
    usage = fields.pop("usage", Usage(10, output=5))
    finish = FinishReason(fields.pop("finish", "stop"))
    response = LLMResponse((TextPart("hi"),), finish, "m", "acme", usage)
    response.duration = 1.234
    for name, value in fields.items():
        setattr(response, name, value)
    return response


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "— acme/m · 15 tokens (10 in, 5 out) · price unknown · 1.23 s"),
        ({"cost": Cost(Decimal(0))}, "— acme/m · 15 tokens (10 in, 5 out) · free · 1.23 s"),
        ({"cost": Cost(Decimal("0.00120"))}, "— acme/m · 15 tokens (10 in, 5 out) · 0.0012 USD · 1.23 s"),
        (
            {"usage": Usage(10, output=5, estimated=True), "duration": 12.0, "time_to_first_token": 0.5},
            "— acme/m · about 15 tokens (10 in, 5 out) · price unknown · 12.0 s (first output 0.50 s)",
        ),
        ({"finish": "length"}, "— acme/m · 15 tokens (10 in, 5 out) · price unknown · 1.23 s · ended by length"),
        (
            {"warnings": (CallWarning("dropped", "top_k was left out"),)},
            "— acme/m · 15 tokens (10 in, 5 out) · price unknown · 1.23 s\n  top_k was left out",
        ),
    ],
)
def test_the_summary_says_who_answered_and_what_it_cost(fields: dict[str, Any], shown: str) -> None:
    """Nothing is made up: an unknown price is called unknown."""
    assert summary(a_response(**fields)) == shown


def test_a_reason_that_several_candidates_share_is_said_once() -> None:
    """And whether the candidate was asked at all."""
    trace = CallTrace("c1", 1, "")
    trace.candidates = [
        CandidateTrace(ModelRef("openai", "a"), "skipped", "no key"),
        CandidateTrace(ModelRef("openai", "b"), "skipped", "no key"),
        CandidateTrace(ModelRef("ollama", ""), "failed", "HTTP 500"),
        CandidateTrace(ModelRef("local", "tiny"), "answered"),
        CandidateTrace(ModelRef("last", "x"), "untried"),
    ]
    assert passed_over(trace) == "  openai/a, openai/b not asked: no key\n  ollama failed: HTTP 500"
