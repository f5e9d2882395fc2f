"""Saying what is waited for, with a second that passes in a millisecond."""

import asyncio
import io

import pytest

from core.llm import AttemptFailed, AttemptTrace, EventBus, Explanation, ModelEvent, ModelRef, TextDelta, ThinkingDelta
from core.llm.status import ExplainedCandidate
from modules.chat import waiting
from modules.chat.screen import Screen
from modules.chat.waiting import Waiting

FIRST = ModelRef("acme", "m")
PLAN = Explanation("", "as listed", 1, (ExplainedCandidate(FIRST, "first"),))


class Recording(Screen):
    """A terminal that keeps every status and note."""

    def __init__(self, *, interactive: bool) -> None:
        super().__init__(io.StringIO(), io.StringIO())
        self.interactive = interactive
        self.said: list[str] = []

    def status(self, message: str) -> None:
        self.said.append(message.partition(",")[0])

    def note(self, message: str) -> None:
        self.said.append(f"note: {message}")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick each millisecond."""
    monkeypatch.setattr(waiting, "PATIENCE", 0.001)
    monkeypatch.setattr(waiting, "SILENCE", 0.002)


async def ticks(screen: Recording) -> str:
    """What is said next, twice over so that it is no leftover."""
    before = len(screen.said)
    async with asyncio.timeout(30):
        while len(screen.said) < before + 3:
            await asyncio.sleep(0.001)
    return screen.said[-1]


async def test_the_subject_follows_what_happens() -> None:
    """The candidate asked, one that failed, a model that loads, thinking."""
    screen, events = Recording(interactive=True), EventBus()
    attempt = AttemptTrace(1, FIRST, 0.0)
    attempt.error_type, attempt.decision = "timeout", "next_candidate"
    async with Waiting(screen, events, PLAN).shown() as shown:
        assert await ticks(screen) == "waiting for acme/m"
        events.publish(AttemptFailed("c1", attempt))
        assert await ticks(screen) == "acme/m did not answer (timeout)"
        events.publish(ModelEvent("local/tiny", "load", "loading"))
        assert (await ticks(screen)).startswith("loading local/tiny")
        events.publish(ModelEvent("ollama/q", "pull", "layer", 1, 4))
        assert (await ticks(screen)).startswith("pulling ollama/q  ██████░")
        events.publish(ModelEvent("local/tiny", "load", "ready"))
        assert await ticks(screen) == "waiting for local/tiny"
        shown.saw(ThinkingDelta("hm"))
        assert await ticks(screen) == "the model is thinking"
        shown.saw(TextDelta("a"))
        assert await ticks(screen) == "waiting for more"


async def test_a_log_is_told_each_subject_once() -> None:
    """Not every second."""
    screen, events = Recording(interactive=False), EventBus()
    async with Waiting(screen, events, PLAN).shown():
        for _ in range(3):
            await ticks(screen)
        events.publish(ModelEvent("local/tiny", "load", "loading"))
        for _ in range(3):
            await ticks(screen)
    notes = [said for said in screen.said if said.startswith("note")]
    assert notes == ["note: waiting for acme/m …", "note: loading local/tiny …"]


async def test_nothing_is_said_after_the_answer() -> None:
    """The task and the subscription end with it."""
    screen, events = Recording(interactive=True), EventBus()
    async with Waiting(screen, events, Explanation("", "", 1, ())).shown():
        assert await ticks(screen) == "waiting for an answer"
    assert not events.wants(ModelEvent)
    before = len(screen.said)
    await asyncio.sleep(0.01)
    assert len(screen.said) == before
