"""Who waits for which limits, in the order of arrival.

Calls that draw on the same limits share a lane; lanes may share some of their limits. A call is let in once all that
it needs can be had, and takes it all at once. What the first in a lane waits for is left alone by everybody who came
later, however little they need; what it does not wait for is not kept from them.
"""

from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Any

from core.llm.limiting.dimension import NOTHING, Amounts, Dimension


def _never(_: float) -> bool:
    return False


class Reservation:
    """What one call has taken. Settled exactly once, when the call has ended."""

    __slots__ = ("amounts", "at", "dimensions", "marks", "open")

    def __init__(self, dimensions: tuple[Dimension, ...], amounts: Amounts, now: float) -> None:
        self.dimensions = dimensions
        self.amounts = amounts
        self.at = now
        # Most calls draw on the slots alone, and a comprehension costs more than they do.
        self.marks: list[Any] = (
            [dimensions[0].take(amounts[dimensions[0].measure], now)]
            if len(dimensions) == 1
            else [each.take(amounts[each.measure], now) for each in dimensions]
        )
        self.open = True

    def settle(self, actual: Amounts | None, now: float) -> None:
        """The call has ended and needed *actual*; `None`: nobody knows, so what was reserved counts. Idempotent."""
        if not self.open:
            return
        self.open = False
        taken, since = self.amounts, self.at
        needed = taken if actual is None else actual
        for each, mark in zip(self.dimensions, self.marks, strict=True):
            measure = each.measure
            each.settle(mark, taken[measure], needed[measure], since, now)

    def cancel(self, now: float) -> None:
        """Nothing was sent: give everything back."""
        self.settle(NOTHING, now)


class Lane:
    """The limits that calls with one key to one model draw on, and those calls that wait for them."""

    __slots__ = ("counts_tokens", "dimensions", "in_vain", "waiting")

    def __init__(self, dimensions: tuple[Dimension, ...], in_vain: Callable[[float], bool] = _never) -> None:
        self.in_vain = in_vain
        """Whether nothing would be sent at some moment, whoever's turn it is."""
        self.waiting: OrderedDict[int, Waiter] = OrderedDict()
        self.use(dimensions)

    def use(self, dimensions: tuple[Dimension, ...]) -> None:
        """Draw on *dimensions* from now on."""
        self.dimensions = dimensions
        self.counts_tokens = any(each.measure for each in dimensions)

    def reserve(self, amounts: Amounts, now: float) -> Reservation | None:
        """Take *amounts* from all limits; `None`, and nothing taken, where one of them cannot give now."""
        for each in self.dimensions:
            if not each.ready(amounts[each.measure], now):
                return None
        return Reservation(self.dimensions, amounts, now)

    def has_room(self, amounts: Amounts, now: float) -> bool:
        """Whether `reserve` would succeed; takes nothing."""
        return all(each.would_give(amounts[each.measure], now) for each in self.dimensions)

    def is_undisturbed(self) -> bool:
        """Whether nobody waits for any of the limits, so that nobody is overtaken."""
        return not any(each.queued and each.limit != inf for each in self.dimensions)

    def too_much(self, amounts: Amounts) -> Dimension | None:
        """The limit that can never give that much; `None` where all can."""
        return next((each for each in self.dimensions if not each.fits(amounts[each.measure])), None)

    def longest(self, amounts: Amounts, now: float) -> tuple[float, Dimension]:
        """How long a call would wait behind all who wait now, and for which limit."""
        wait, limit, short = 0.0, self.dimensions[0], False
        for each in self.dimensions:
            amount = amounts[each.measure]
            behind, lacks = each.wait_behind(amount, now), not each.would_give(amount, now)
            # No time may be known, and still it is this one that holds the call back.
            if (behind, lacks) > (wait, short):
                wait, limit, short = behind, each, lacks
        return wait, limit


class Waiter:
    """One call in the queue. `wake` is called once: when `reservation` is set, or when there is no point in waiting."""

    __slots__ = ("amounts", "dimensions", "lane", "number", "reservation", "wake")

    def __init__(self, lane: Lane, amounts: Amounts, number: int, wake: Callable[[], None]) -> None:
        self.lane = lane
        self.dimensions = lane.dimensions
        self.amounts = amounts
        self.number = number
        self.wake = wake
        self.reservation: Reservation | None = None

    def blocked_by(self, now: float) -> Dimension | None:
        """The first limit that cannot give now."""
        return next((each for each in self.dimensions if not each.ready(self.amounts[each.measure], now)), None)

    def is_too_large(self) -> bool:
        """Whether some limit can never give what the call wants."""
        return not all(each.fits(self.amounts[each.measure]) for each in self.dimensions)

    def wait(self, now: float) -> float:
        """Seconds until all limits can give, if nobody takes anything before; infinite where no time can be said."""
        return max(each.wait(self.amounts[each.measure], now) for each in self.dimensions)


class FairQueue:
    """The waiting calls of all lanes of one provider."""

    __slots__ = ("_lanes", "_number", "length")

    def __init__(self) -> None:
        self.length = 0
        self._number = 0
        self._lanes: list[Lane] = []

    def add(self, lane: Lane, amounts: Amounts, wake: Callable[[], None]) -> Waiter:
        """Let a call wait. It must leave with `remove`, unless it was let in."""
        self._number += 1
        waiter = Waiter(lane, amounts, self._number, wake)
        if not lane.waiting:
            self._lanes.append(lane)
        lane.waiting[waiter.number] = waiter
        self.length += 1
        for each in waiter.dimensions:
            each.queued += amounts[each.measure]
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Take a call out of the queue. Idempotent."""
        lane = waiter.lane
        if lane.waiting.pop(waiter.number, None) is None:
            return
        self.length -= 1
        for each in waiter.dimensions:
            each.queued -= waiter.amounts[each.measure]
        if not lane.waiting:
            self._lanes.remove(lane)

    def holds(self, waiter: Waiter) -> bool:
        """Whether *waiter* is still in the queue: neither let in nor sent away."""
        return waiter.number in waiter.lane.waiting

    def admit(self, now: float) -> float | None:
        """Let in everybody whose turn it is. The moment at which to ask again; `None`: only the end of a call helps."""
        blocked: set[Dimension] = set()
        again: float | None = None
        while (waiter := self._first(blocked)) is not None:
            dimension = waiter.blocked_by(now)
            if dimension is None:
                self.remove(waiter)
                waiter.reservation = Reservation(waiter.dimensions, waiter.amounts, now)
                waiter.wake()
                continue
            blocked.add(dimension)
            wait = waiter.wait(now)
            if wait != inf:
                again = now + wait if again is None else min(again, now + wait)
        return again

    def _first(self, blocked: set[Dimension]) -> Waiter | None:
        """The call that came first, of those that wait for none of the limits in *blocked*."""
        heads = [next(iter(lane.waiting.values())) for lane in self._lanes]
        free = [head for head in heads if blocked.isdisjoint(head.dimensions)]
        return min(free, key=lambda head: head.number) if free else None

    def dismiss(self, now: float) -> None:
        """Wake those who wait in vain."""
        for lane in tuple(self._lanes):
            if lane.in_vain(now):
                for waiter in tuple(lane.waiting.values()):
                    self._send_away(waiter)
            else:
                # A limit that was lowered meanwhile may have become too small for who waits first.
                while lane.waiting and (head := next(iter(lane.waiting.values()))).is_too_large():
                    self._send_away(head)

    def _send_away(self, waiter: Waiter) -> None:
        self.remove(waiter)
        waiter.wake()
