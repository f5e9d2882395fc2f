"""Time as a parameter: a clock, and the one deadline of a call.

Durations and deadlines use the monotonic clock only; wall time is for records and calendars. Tests pass
`core.llm.testing.FakeClock` instead.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class TimerHandle(Protocol):
    """A scheduled callback that can be called off."""

    def cancel(self) -> None:
        """Forget the callback; harmless when it has already run."""


class Clock(Protocol):
    """Where a component gets its time from."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never goes back."""

    def now(self) -> datetime:
        """The wall-clock time, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*; cancellable."""

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Run *callback* on the running event loop once `monotonic()` reaches *when*."""


class SystemClock:
    """The real clock. Inside a running event loop it is the loop's own clock."""

    __slots__ = ()

    # The function itself, not a method around it: it is called a dozen times per call.
    monotonic = staticmethod(time.monotonic)
    """Seconds of `time.monotonic`, which is also the event loop's clock."""

    def now(self) -> datetime:
        """The current time in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """`asyncio.sleep`."""
        await asyncio.sleep(seconds)

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """`loop.call_at` of the running loop."""
        return asyncio.get_running_loop().call_at(when, callback)


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which a call must have ended, all attempts and fallbacks included."""

    at: float
    """Seconds on the monotonic clock; `math.inf` means no limit."""

    def remaining(self, clock: Clock) -> float:
        """Seconds left; negative once it has passed."""
        return self.at - clock.monotonic()


def new_id(rng: random.Random) -> str:
    """A 128-bit random identifier as 32 hexadecimal digits."""
    return f"{rng.getrandbits(128):032x}"
