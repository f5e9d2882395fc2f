"""When a second request is worth sending, and how many of them there may be. Pure."""

from bisect import bisect_left, insort
from collections import deque
from math import ceil
from typing import Final

from core.llm.common.types import ModelRef

_KEPT: Final = 200
_NEEDED: Final = 20
_SHARE: Final = 0.95
_PLACES: Final = 4096
_SAVED_CALLS: Final = 100
_LITTLE: Final = 5.0


class FirstOutputTimes:
    """The latest times to the first output of one model, and what 95 % of them stayed below."""

    __slots__ = ("_latest", "_sorted")

    def __init__(self) -> None:
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._latest)

    def learn(self, seconds: float) -> None:
        """One more call has begun to be answered after *seconds*; the oldest of many is forgotten."""
        if len(self._latest) >= _KEPT:
            oldest = self._latest.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._latest.append(seconds)
        insort(self._sorted, seconds)

    def p95(self) -> float | None:
        """Seconds in which 95 % of the calls had begun; `None` while too few are known."""
        known = len(self._sorted)
        return self._sorted[ceil(_SHARE * known) - 1] if known >= _NEEDED else None


class HedgeBudget:
    """Keeps second requests below a share of the calls, whatever happens.

    It starts with nothing, so the share holds from the first call on, and it saves up for a bad minute, not for a bad
    day.
    """

    __slots__ = ("_most", "_saved")

    def __init__(self) -> None:
        self._most = 1.0
        self._saved = 0.0

    def call(self, share: float) -> None:
        """One more call: *share* of a second request may be spent for it."""
        self._most = max(1.0, _SAVED_CALLS * share)
        self._saved = min(self._saved + share, self._most)

    @property
    def allows(self) -> bool:
        """Whether a second request may be sent now."""
        return self._saved >= 1.0 - 1e-9

    @property
    def is_short(self) -> bool:
        """Whether so little is left that it had better be kept for the slowest."""
        return self._saved < min(_LITTLE, self._most / 2)

    def spend(self) -> None:
        """A second request is sent."""
        self._saved -= 1.0


class HedgeMemory:
    """Times by model and form of the call, and budgets by alias."""

    __slots__ = ("_budgets", "_times")

    def __init__(self) -> None:
        self._budgets: dict[str, HedgeBudget] = {}
        self._times: dict[tuple[ModelRef, str], FirstOutputTimes] = {}

    def budget(self, alias: str) -> HedgeBudget:
        """The budget of *alias*; asked for once by each configuration."""
        found = self._budgets.pop(alias, None) or HedgeBudget()
        if len(self._budgets) >= _PLACES:
            del self._budgets[next(iter(self._budgets))]
        self._budgets[alias] = found
        return found

    def times(self, ref: ModelRef, mode: str) -> FirstOutputTimes:
        """What is known about *ref*: a stream begins long before an answer is whole, so each form counts by itself."""
        found = self._times.get((ref, mode))
        if found is None:
            if len(self._times) >= _PLACES:
                del self._times[next(iter(self._times))]
            found = self._times[ref, mode] = FirstOutputTimes()
        return found
