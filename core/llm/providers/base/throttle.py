"""Progress is told no more often than anyone can read it."""

from typing import Final

from core.llm.common.clock import Clock

PER_SECOND: Final = 10


class Throttle:
    """Lets at most ten updates a second pass."""

    __slots__ = ("_clock", "_next")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = float("-inf")

    def due(self) -> bool:
        """Whether an update may be told now."""
        now = self._clock.monotonic()
        if now < self._next:
            return False
        self._next = now + 1 / PER_SECOND
        return True
