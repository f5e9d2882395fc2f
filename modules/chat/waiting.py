"""What is being waited for, second by second, until there is something to read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from core.llm import AttemptFailed, Event, EventBus, Explanation, ModelEvent, ModelRef, ThinkingDelta
from modules.chat.screen import ENDED, Screen

PATIENCE: Final = 1.0
"""Seconds without output after which a terminal says what is being waited for, and how often it says so again."""
SILENCE: Final = 2.0
"""Seconds after which a log, which cannot be overwritten, gets one line about it."""


class Waiting:
    """Follows one answer. Its subject changes with what happens: another candidate, a model that is loaded."""

    def __init__(self, screen: Screen, events: EventBus, plan: Explanation) -> None:
        self._screen = screen
        self._events = events
        first = plan.first
        self._subject = f"waiting for {_name(first)}" if first else "waiting for an answer"
        self._seconds = 0.0
        self._told = ""
        self._under_way: ModelEvent | None = None
        """The last that was heard of a load or a pull that goes on."""

    @asynccontextmanager
    async def shown(self) -> AsyncIterator["Waiting"]:
        """While inside, the screen says what is being waited for whenever no output is shown."""
        task = asyncio.create_task(self._tick(), name="chat:waiting")
        try:
            with self._events.subscribe(self._on_event, AttemptFailed, ModelEvent):
                yield self
        finally:
            task.cancel()
            self._screen.clear_status()

    def saw(self, event: object) -> None:
        """An event of the answer has come; begins to count anew."""
        if isinstance(event, ThinkingDelta):
            self._subject = "the model is thinking"
        else:
            self._subject = "waiting for more"
            self._seconds = 0.0
        self._under_way = None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(PATIENCE)
            self._seconds += PATIENCE
            if self._under_way is not None:
                self._screen.status(self._screen.progress(self._under_way))
            else:
                self._screen.status(f"{self._subject}, {self._seconds:.0f} s")
            if self._seconds >= SILENCE and not self._screen.interactive and self._told != self._subject:
                self._told = self._subject
                self._screen.note(f"{self._subject} …")

    def _on_event(self, event: Event) -> None:
        match event:
            case AttemptFailed(attempt=attempt):
                then = "trying again" if attempt.decision == "retry" else "going on to the next"
                self._subject = f"{attempt.target} did not answer ({attempt.error_type}), {then}"
            case ModelEvent(kind="load" | "pull") if event.state in ENDED:
                self._subject, self._under_way = f"waiting for {event.model}", None
            case ModelEvent(kind="load" | "pull"):
                self._subject, self._under_way = f"{event.kind}ing {event.model}", event
            case _:
                pass


def _name(target: ModelRef) -> str:
    return str(target) if target.model else target.provider
