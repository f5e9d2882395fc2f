"""How many calls may run at the same time: a number from the configuration, or one that is found out."""

import math
from typing import Final

from core.llm.limiting.dimension import REQUESTS, Dimension

_WEIGHT: Final = 0.1


class Slots(Dimension):
    """At most `limit` calls at a time."""

    __slots__ = ("_typical", "used")

    def __init__(self, name: str, limit: float) -> None:
        super().__init__(name, REQUESTS, limit)
        self.used = 0
        self._typical = 0.0

    def ready(self, amount: float, now: float) -> bool:  # noqa: ARG002 - of the interface
        """Whether a slot is free."""
        return self.used + amount <= self.limit

    def wait(self, amount: float, now: float) -> float:
        """Nothing, or until some call ends."""
        return 0.0 if self.ready(amount, now) else math.inf

    def wait_behind(self, amount: float, now: float) -> float:
        """By how long calls have taken so far, spread over all slots."""
        if not self.queued and self.would_give(amount, now):
            return 0.0
        return self._typical * (self.queued + amount) / max(1.0, self.limit)

    def take(self, amount: float, now: float) -> None:  # noqa: ARG002 - of the interface
        """Take a slot."""
        self.used += 1

    def settle(self, mark: None, taken: float, actual: float, since: float, now: float) -> None:  # noqa: ARG002 - of the interface
        """Give the slot back."""
        self.used -= 1
        self._typical += (now - since - self._typical) * (_WEIGHT if self._typical else 1.0)

    def headroom(self, now: float) -> float:  # noqa: ARG002 - of the interface
        """The free share."""
        return 1.0 if self.limit == math.inf else max(0.0, 1.0 - self.used / self.limit)


class AdaptiveSlots(Slots):
    """Begins without a limit. The first overload sets one below what was running, each later one lowers it.

    Calls that are answered raise it again, by one for each round of them, as long as it is made use of. While none of
    those that run comes to an end, as with long streams, time raises it instead: one more may begin every few seconds.
    A limit that nobody has come near for a while tells nothing any more and is forgotten.
    """

    __slots__ = ("_cut_at", "_moved_at", "_used_at")

    CUT = 0.7
    CUT_INTERVAL = 1.0
    FORGOTTEN_AFTER = 60.0
    PATIENCE = 5.0
    USED_SHARE = 0.5

    def __init__(self) -> None:
        super().__init__("adaptive_concurrency", math.inf)
        self._cut_at = -math.inf
        self._used_at = -math.inf
        self._moved_at = -math.inf
        """When it was last cut or raised, or a call has ended."""

    def ready(self, amount: float, now: float) -> bool:
        """Whether a slot is free; a limit that has been of no use is forgotten on the way."""
        if self.limit == math.inf:
            return True
        if now - self._used_at > self.FORGOTTEN_AFTER:
            self.limit = math.inf
            return True
        if self.used + amount <= self.limit:
            return True
        self._used_at = now
        if now - self._moved_at < self.PATIENCE:
            return False
        self._moved_at = now
        self.limit += 1.0
        return self.used + amount <= self.limit

    def would_give(self, amount: float, now: float) -> bool:
        """Whether a slot is free, or would be found to be."""
        raised = self.limit + 1.0 if now - self._moved_at >= self.PATIENCE else self.limit
        return self.used + amount <= raised or now - self._used_at > self.FORGOTTEN_AFTER

    def wait(self, amount: float, now: float) -> float:
        """Nothing, or until the limit is raised at the latest."""
        return 0.0 if self.ready(amount, now) else max(0.0, self._moved_at + self.PATIENCE - now)

    def settle(self, mark: None, taken: float, actual: float, since: float, now: float) -> None:
        """Give the slot back."""
        self._moved_at = now
        super().settle(mark, taken, actual, since, now)

    def overloaded(self, now: float) -> bool:
        """A running call, which still has its slot, found the provider overloaded; `True` where that cuts the limit."""
        if now - self._cut_at < self.CUT_INTERVAL:
            return False
        self.limit = max(1.0, self.CUT * min(self.limit, self.used))
        self._cut_at = self._used_at = self._moved_at = now
        return True

    def answered(self, now: float, most: float) -> None:
        """A running call, which still has its slot, was answered. *most* could run at a time without the limit."""
        limit = self.limit
        if limit != math.inf and self.used >= self.USED_SHARE * limit:
            self._used_at = now
            limit += 1.0 / limit
            self.limit = limit if limit < most else math.inf

    def lift(self) -> None:
        """Forget the limit."""
        self.limit = math.inf
