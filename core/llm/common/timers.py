"""Limits that are nearly always far away, looked at together once a second instead of each having a timer.

Every call sets limits of minutes that it hardly ever reaches, and is over in seconds. As timers of the event loop each
would be sorted into a heap, and stay there after it was called off until a clean-up rebuilds the heap.
"""

from typing import Any, Final, Generic, Protocol, TypeVar

from core.llm.common.clock import Clock, SystemClock, TimerHandle

LOOK: Final = 1.0
"""Seconds from one look to the next. What is due before the look after the next has a timer of its own."""
_NEVER: Final = float("inf")


class Timed(Protocol):
    """Something that has to do something at a moment, unless it is over before."""

    due_at: float
    """When; `math.inf`: never. Whoever changes it says so with `Timers.changed`."""
    timer: TimerHandle | None
    """Kept by `Timers`; `None` while the moment is far away."""

    def ring(self) -> None:
        """The moment has come. `timer` is still the one that went off."""


_T = TypeVar("_T", bound=Timed)


class Timers(Generic[_T]):
    """Rings everything at its moment. Belongs to one event loop, from the first `add` on."""

    __slots__ = ("_clock", "_look", "_until", "members")

    def __init__(self, clock: Clock, *, looks: bool) -> None:
        """Set a timer for everything at once, unless it *looks* now and then at who needs one."""
        self._clock = clock
        self.members: set[_T] = set()
        """Everything that was added and is not over."""
        self._look: TimerHandle | None = None if looks else _Never()
        self._until = _NEVER
        """What is due by then needs a timer: there is no look in time."""

    def add(self, one: _T) -> None:
        """Ring *one* when it is due. It leaves with `remove`, also after it has rung."""
        self.members.add(one)
        if one.due_at <= self._until:
            self._near(one)

    def remove(self, one: _T) -> None:
        """Forget *one*; harmless where it is not known."""
        self.members.discard(one)
        timer = one.timer
        if timer is not None:
            one.timer = None
            timer.cancel()

    def changed(self, one: _T) -> None:
        """*one*, which was added, is due at another moment."""
        timer = one.timer
        if timer is not None:
            one.timer = None
            timer.cancel()
        if one.due_at <= self._until:
            self._near(one)

    def _near(self, one: _T) -> None:
        if self._look is None:
            self._look_round()
        elif one.due_at != _NEVER:
            one.timer = self._clock.call_at(one.due_at, one.ring)

    def _look_round(self) -> None:
        if not self.members:
            self._look, self._until = None, _NEVER
            return
        now = self._clock.monotonic()
        self._look, self._until = self._clock.call_at(now + LOOK, self._look_round), now + 2 * LOOK
        for one in self.members:
            if one.timer is None and one.due_at <= self._until:
                self._near(one)


class _Never:
    """Stands for a look that never comes."""

    def cancel(self) -> None:
        """Nothing to call off."""


def timers(clock: Clock) -> Timers[Any]:
    """Timers that ring by *clock*; those of a test's clock are set at once, so that a test sees every one of them."""
    return Timers(clock, looks=isinstance(clock, SystemClock))
