"""Many timers that are nearly always called off, over one timer of the event loop.

Every call sets limits that it hardly ever reaches. As timers of the event loop each would be sorted into a heap, and
stay there after it was called off until a clean-up rebuilds the heap.
"""

from collections.abc import Callable
from math import ceil
from typing import Final, Protocol

from core.llm.common.clock import Clock, SystemClock, TimerHandle

TICK: Final = 0.01
"""Seconds; a timer goes off up to this much late, and never early."""
_NEVER: Final = 1 << 62


class WheelTimer:
    """One timer of a wheel."""

    __slots__ = ("_slot", "_tick", "_wheel", "callback")

    def __init__(self, wheel: "TimerWheel", tick: int, slot: "set[WheelTimer]", callback: Callable[[], None]) -> None:
        self._wheel = wheel
        self._tick = tick
        self._slot = slot
        self.callback = callback

    def cancel(self) -> None:
        """Forget the callback; harmless when it has already run."""
        slot = self._slot
        slot.discard(self)
        if not slot:
            self._wheel.drop(self._tick, slot)


class TimerWheel:
    """Timers of one event loop, in slots of one tick."""

    __slots__ = ("_armed", "_clock", "_slots", "_timer")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: dict[int, set[WheelTimer]] = {}
        self._armed = _NEVER
        self._timer: TimerHandle | None = None

    def call_at(self, when: float, callback: Callable[[], None]) -> WheelTimer:
        """Run *callback* once the clock has reached *when*, at most one tick later."""
        tick = ceil(when / TICK)
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = set()
            if tick < self._armed:
                self._arm(tick)
        timer = WheelTimer(self, tick, slot, callback)
        slot.add(timer)
        return timer

    def drop(self, tick: int, slot: set[WheelTimer]) -> None:
        """Forget an empty *slot*; the timer of the loop stays, and finds nothing."""
        if self._slots.get(tick) is slot:
            del self._slots[tick]

    def _arm(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = tick
        self._timer = self._clock.call_at(tick * TICK, self._turn)

    def _turn(self) -> None:
        self._timer, self._armed = None, _NEVER
        now = self._clock.monotonic()
        for tick in sorted(tick for tick in self._slots if tick * TICK <= now + 1e-9):
            for timer in self._slots.pop(tick):
                timer.callback()
        if self._slots and self._timer is None:
            self._arm(min(self._slots))


class Timers(Protocol):
    """Where timers can be set: a clock, or a wheel."""

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Run *callback* once *when* is reached."""


def timers(clock: Clock) -> Timers:
    """Where to set timers that are nearly always called off: a wheel, or *clock* itself where it is a test's."""
    return TimerWheel(clock) if isinstance(clock, SystemClock) else clock
