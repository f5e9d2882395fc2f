"""A clock that stands still until a test moves it."""

import asyncio
import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

# Turns of the event loop after which tasks that only wait for each other have come to rest. A turn costs about a
# microsecond; chains of tasks longer than this are settled by a second `settle()`.
_TURNS: Final = 50


@dataclass(order=True, slots=True)
class FakeTimer:
    """A callback waiting in a `FakeClock`."""

    when: float
    order: int
    callback: Callable[[], None] | None = field(compare=False)
    sleeper: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Forget the callback; harmless when it has already run."""
        self.callback = None


class FakeClock:
    """A `core.llm.common.clock.Clock` under a test's control.

    Time moves by `advance` only, so a test of a ten-minute timeout takes no time and gives the same result each run.
    With `auto_advance` it also jumps to the next sleeper as soon as everything else has come to rest: right for code
    whose sleeps are not what the test is about. Timers (`call_at`) never pull time forward, they only run when it
    passes them.
    """

    def __init__(
        self,
        start: float = 1000.0,
        *,
        now: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        auto_advance: bool = False,
    ) -> None:
        self._start = start
        self._monotonic = start
        self._wall = now
        self._timers: list[FakeTimer] = []
        self._order = count()
        self._auto_advance = auto_advance
        self._driving = False
        self.sleeps: list[float] = []
        """Every duration that was asked for with `sleep`, in order."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin."""
        return self._monotonic

    def now(self) -> datetime:
        """The wall-clock time, in UTC; moves together with `monotonic`."""
        return self._wall + timedelta(seconds=self._monotonic - self._start)

    def elapsed(self) -> float:
        """Seconds by which the clock has been moved since it was made."""
        return self._monotonic - self._start

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        """Run *callback* when the clock is moved to *when* or past it."""
        return self._add(when, callback, sleeper=False)

    async def sleep(self, seconds: float) -> None:
        """Return once the clock has been moved by *seconds*; at once when that is not positive."""
        self.sleeps.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self._add(self._monotonic + seconds, wake, sleeper=True)
        if self._auto_advance and not self._driving:
            self._driving = True
            self._drive_after(_TURNS)
        try:
            await woken
        finally:
            timer.cancel()

    @property
    def sleeping(self) -> int:
        """How many tasks are asleep on this clock."""
        return sum(timer.sleeper and timer.callback is not None for timer in self._timers)

    @property
    def pending(self) -> int:
        """How many sleepers and timers wait for this clock: zero when a component has cleaned up after itself."""
        return sum(timer.callback is not None for timer in self._timers)

    def next_at(self) -> float | None:
        """The moment at which the next timer or sleeper is due; `None` when nothing waits."""
        self._drop_cancelled()
        return self._timers[0].when if self._timers else None

    async def advance(self, seconds: float) -> None:
        """Move time by *seconds*: what falls due runs in order, each at its own moment, and tasks settle in between.

        Raises:
            ValueError: time would go back.
        """
        if not seconds >= 0 or math.isinf(seconds):
            raise ValueError(f"time can only be moved forward by a finite number of seconds, not by {seconds}")
        await self.settle()
        end = self._monotonic + seconds
        while self._run_next(end):
            await self.settle()
        self._monotonic = end
        await self.settle()

    async def settle(self) -> None:
        """Let all tasks run until they wait for something; time stands still.

        Waits for tasks only, not for sockets, threads or processes: wait for those by what they send.
        """
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def _add(self, when: float, callback: Callable[[], None], *, sleeper: bool) -> FakeTimer:
        timer = FakeTimer(when, next(self._order), callback, sleeper)
        heapq.heappush(self._timers, timer)
        return timer

    def _run_next(self, end: float) -> bool:
        """Run the first timer due until *end* at its moment; False when there is none."""
        self._drop_cancelled()
        if not self._timers or self._timers[0].when > end:
            return False
        timer = heapq.heappop(self._timers)
        callback, timer.callback = timer.callback, None
        self._monotonic = max(self._monotonic, timer.when)
        if callback is not None:
            callback()
        return True

    def _drop_cancelled(self) -> None:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)

    def _drive_after(self, turns: int) -> None:
        asyncio.get_running_loop().call_soon(self._drive, turns)

    def _drive(self, turns: int) -> None:
        """Count idle turns down, then jump to the first sleeper; goes on while there is one."""
        if turns:
            self._drive_after(turns - 1)
            return
        due = [timer.when for timer in self._timers if timer.sleeper and timer.callback is not None]
        if not due:
            self._driving = False
            return
        self._run_next(min(due))
        self._drive_after(_TURNS)
