"""A stream that brings too little is broken off: so many tokens in each stretch of time spent waiting for it.

Silence has limits of its own, which a model that says one word every few seconds never reaches. Nothing here runs for
a route without `timeouts.min_rate`.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from core.llm.common.clock import Clock, TimerHandle
from core.llm.common.exceptions import ProviderError
from core.llm.common.timers import timers
from core.llm.common.types import PhaseLimits
from core.llm.pipeline.event_streams import close
from core.llm.pipeline.guard import Guard
from core.llm.providers.base.response import RefusalDelta, StreamEvent, TextDelta, ThinkingDelta, ToolCallDelta
from core.llm.routing.tokens import estimate_text

_ROUNDING: Final = 1e-6


class Paced(AsyncIterator[StreamEvent]):
    """The events of one attempt under a least rate, which begins to count with its first output.

    Time in which the consumer holds an event does not count. Closing it closes the stream.
    """

    __slots__ = (
        "_begun",
        "_clock",
        "_events",
        "_guard",
        "_needed",
        "_seen",
        "_timer",
        "_waited",
        "_waiting",
        "_window",
    )

    def __init__(self, events: AsyncIterator[StreamEvent], limits: PhaseLimits, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        # Its cut fails this attempt only: the guard of the call would fail every later one as well.
        self._guard = Guard(timers(clock))
        self._window = limits.rate_window
        self._needed = (limits.min_rate or 0.0) * limits.rate_window
        self._begun = False
        self._seen = 0
        self._waited = 0.0
        self._waiting: float | None = None
        self._timer: TimerHandle | None = None

    async def __anext__(self) -> StreamEvent:
        try:
            self._wait()
            try:
                event = await self._events.__anext__()
            finally:
                self._waited_for()
        except asyncio.CancelledError:
            error = self._guard.verdict()
            if error is None:
                raise
            raise error from None
        tokens = tokens_of(event)
        if tokens:
            self._seen += tokens
            self._begun = True
        return event

    async def aclose(self) -> None:
        """Close the stream and forget the timer."""
        self._forget()
        await close(self._events)

    def _wait(self) -> None:
        self._guard.enter()
        if self._begun:
            now = self._waiting = self._clock.monotonic()
            if self._timer is None:
                self._timer = self._clock.call_at(now + self._window - self._waited, self._ring)

    def _waited_for(self) -> None:
        if self._waiting is not None:
            self._waited += self._clock.monotonic() - self._waiting
            self._waiting = None
        self._guard.leave()

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        """Set for the earliest moment at which a window of waiting can be over; the consumer may have put it off."""
        self._timer = None
        if self._waiting is None:
            return
        now = self._clock.monotonic()
        left = self._window - self._waited - (now - self._waiting)
        if left > _ROUNDING:
            self._timer = self._clock.call_at(now + left, self._ring)
        elif self._seen < self._needed:
            self._guard.cut(self._error())
        else:
            self._waiting = now
            self._seen, self._waited = 0, 0.0
            self._timer = self._clock.call_at(now + self._window, self._ring)

    def _error(self) -> ProviderError:
        return ProviderError(
            "timeout",
            f"the stream brought about {self._seen} tokens in {self._window:g} s, less than {self._needed:g}; "
            "lower timeouts.min_rate if that is normal",
            code="too_slow",
            billing="estimated",
        )


def tokens_of(event: StreamEvent) -> int:
    """About how many tokens of output *event* brings; none where there is nothing to see in it."""
    if isinstance(event, TextDelta):
        return estimate_text(event.text)
    if isinstance(event, ThinkingDelta):
        return estimate_text(event.thinking)
    if isinstance(event, ToolCallDelta):
        return estimate_text(event.arguments)
    if isinstance(event, RefusalDelta):
        return estimate_text(event.refusal)
    return 0
