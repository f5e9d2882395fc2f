"""A quota per minute or per day: what has been taken from it, and when it can give again.

Two rules hold at once. Within any stretch of one period no more than the limit is taken, which is right for vendors
that count in a sliding or a fixed window; and of a minute's quota only a share goes out in one burst, after which it
comes back continuously, as it does at vendors that use a bucket.
"""

from collections import deque
from typing import Final

from core.llm.limiting.dimension import Dimension, Measure

MINUTE: Final = 60.0
DAY: Final = 86_400.0
CELLS: Final = 240
"""Into so many pieces the window is cut: a busy quota remembers no more than these, and one or two that are leaving."""
MARGIN: Final = 1 / 240
"""Share of the period for which something counts longer, because requests do not all travel equally fast."""


class Cell:
    """What was taken within one short piece of the window."""

    __slots__ = ("amount", "first", "last")

    def __init__(self, now: float) -> None:
        self.first = self.last = now
        self.amount = 0.0


Mark = tuple[Cell, float]
"""Where an amount was written down, and what `total` was then."""


class Quota(Dimension):
    """One limit of requests or tokens per period."""

    __slots__ = ("_at", "_available", "_cells", "_rate", "_window", "burst", "capacity", "learnt", "period", "total")

    def __init__(self, name: str, measure: Measure, limit: float, period: float, burst: float, now: float) -> None:
        """*burst* is the share of the limit that may be taken at once; 1 leaves the pace to the window alone."""
        super().__init__(name, measure, limit)
        self.period = period
        self.burst = burst
        self.learnt = False
        """Whether the provider has named this limit, and nobody configured it."""
        self.total = 0.0
        """All that was ever taken, less what was given back."""
        self.capacity = max(1.0, self.limit * burst)
        """The most that goes out in one burst."""
        self._rate = self.limit / period
        self._available = self.capacity
        self._at = now
        self._cells: deque[Cell] = deque()
        self._window = 0.0

    def _catch_up(self, now: float) -> None:
        """Let come back what has come back by *now*."""
        cells = self._cells
        if cells and cells[0].last + self.period * (1 + MARGIN) <= now:
            self._forget(now - self.period * (1 + MARGIN))
        if now > self._at:
            available = self._available + (now - self._at) * self._rate
            self._available = min(available, self.capacity)
            self._at = now

    def _forget(self, until: float) -> None:
        cells = self._cells
        while cells and cells[0].last <= until:
            gone = cells.popleft()
            self._window -= gone.amount
            gone.last = float("-inf")
        if not cells:
            # Whatever rounding has left.
            self._window = 0.0

    def ready(self, amount: float, now: float) -> bool:
        """Whether *amount* can be taken now. More than a burst waits for a full bucket and leaves it in debt."""
        self._catch_up(now)
        if self._window + amount > self.limit:
            return False
        available = self._available
        return available >= amount or available >= self.capacity

    def wait(self, amount: float, now: float) -> float:
        """Seconds until *amount* can be taken, if nobody else takes anything before."""
        self._catch_up(now)
        pace = (min(amount, self.capacity) - self._available) / self._rate
        return max(0.0, pace, self._until_room(amount, now))

    def wait_behind(self, amount: float, now: float) -> float:
        """Seconds until *amount* can be taken once everybody has been served who waits now."""
        self._catch_up(now)
        pace = (self.queued + min(amount, self.capacity) - self._available) / self._rate
        periods, rest = divmod(self.queued + amount, self.limit)
        if periods and not rest:
            periods, rest = periods - 1, self.limit
        return max(0.0, pace, periods * self.period + self._until_room(rest, now))

    def _until_room(self, amount: float, now: float) -> float:
        excess = self._window + amount - self.limit
        if excess <= 0:
            return 0.0
        for cell in self._cells:
            excess -= cell.amount
            if excess <= 0:
                return cell.last + self.period * (1 + MARGIN) - now
        return self.period

    def take(self, amount: float, now: float) -> Mark:
        """Take *amount*, which `ready` has allowed."""
        cells = self._cells
        if cells and now - cells[-1].first < self.period / CELLS:
            cell = cells[-1]
            cell.last = now
        else:
            cell = Cell(now)
            cells.append(cell)
        cell.amount += amount
        self._window += amount
        self._available -= amount
        self.total += amount
        return cell, self.total

    def settle(self, mark: Mark, taken: float, actual: float, since: float, now: float) -> None:  # noqa: ARG002 - of the interface
        """Give back what was not needed, or take what was needed on top."""
        difference = actual - taken
        if not difference:
            return
        self._catch_up(now)
        cell = mark[0]
        if cell.last > float("-inf"):
            cell.amount += difference
            self._window += difference
        self._available = min(self.capacity, self._available - difference)
        self.total += difference

    def change(self, limit: float, burst: float, now: float) -> None:
        """Another limit from now on; what has been taken stays taken."""
        self._catch_up(now)
        used = self.capacity - self._available
        self.limit, self.burst = float(limit), burst
        self.capacity = max(1.0, self.limit * burst)
        self._rate = self.limit / self.period
        self._available = self.capacity - used

    def lower(self, remaining: float, total_then: float, since: float, now: float) -> None:
        """The provider says that *remaining* was left when it got a call sent at *since*; `total` was *total_then*.

        What has come back since then is added, what was taken since then is not there any more. Believed only where it
        is less than our own count.
        """
        self._catch_up(now)
        left = min(self.limit, remaining + (now - since) * self._rate) - max(0.0, self.total - total_then)
        self._available = max(-self.limit, min(self._available, left))

    def headroom(self, now: float) -> float:
        """Between 0, nothing can be taken now, and 1, nothing has been taken."""
        self._catch_up(now)
        return max(0.0, min(1.0, self._available / self.capacity, 1.0 - self._window / self.limit))

    def left(self, now: float) -> float:
        """How much of this period's quota has not been taken."""
        self._catch_up(now)
        return max(0.0, self.limit - self._window)
