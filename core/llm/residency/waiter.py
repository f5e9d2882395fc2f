"""One call that waits for a model, and the time for which it still waits while others hold the room."""

from collections.abc import Callable

from core.llm.common.clock import Clock, TimerHandle


class Waiter:
    """Its time runs only while it waits for room: not for its own load, nor for those before it."""

    __slots__ = ("_clock", "_left", "_running_since", "_time_is_up", "_timer", "since")

    def __init__(self, clock: Clock, seconds: float, time_is_up: Callable[[], None]) -> None:
        self._clock = clock
        self._left = seconds
        self._time_is_up = time_is_up
        self._timer: TimerHandle | None = None
        self._running_since = 0.0
        self.since = clock.monotonic()
        """When it began to wait."""

    def wait_for_room(self, *, lacking: bool) -> None:
        """Let its time run, or stand still where no room is *lacking*."""
        if lacking and self._timer is None:
            self._running_since = self._clock.monotonic()
            self._timer = self._clock.call_at(self._running_since + self._left, self._time_is_up)
        elif not lacking and self._timer is not None:
            self._left = max(0.0, self._left - (self._clock.monotonic() - self._running_since))
            self.end()

    def end(self) -> None:
        """It waits no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
