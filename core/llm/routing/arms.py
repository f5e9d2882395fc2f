"""What the calls to an alias have shown about its models. Bounded, and kept across configurations.

An outcome is a number that the host gives an answer, best from 0 to 1. A call that failed counts as an outcome of 0, so
that a model which never answers is not tried for ever.
"""

import random
from collections import OrderedDict
from math import sqrt
from typing import Final, NamedTuple

from core.llm.common.types import ModelRef

_ALIASES: Final = 256
_ARMS: Final = 256
_CALLS: Final = 10_000
_MEMORY: Final = 500.0
"""Outcomes after which older ones lose weight: a model may become better or worse."""


class Arm:
    """How one model has done for one alias."""

    __slots__ = ("_good", "_seen", "answered", "cost", "failed", "scores", "seconds", "total", "total_squares")

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.seconds = 0.0
        """Of all answered calls together."""
        self.cost = 0.0
        self.scores = 0
        self.total = 0.0
        self.total_squares = 0.0
        self._good = 0.0
        self._seen = 0.0

    def ended(self, seconds: float, cost: float) -> None:
        """A call was answered."""
        self.answered += 1
        self.seconds += seconds
        self.cost += cost

    def broke(self) -> None:
        """A call failed here."""
        self.failed += 1
        self._learn(0.0)

    def score(self, value: float) -> None:
        """The host gives an answer *value*; what lies outside of 0 to 1 is learnt from as the nearer of the two."""
        self.scores += 1
        self.total += value
        self.total_squares += value * value
        self._learn(min(1.0, max(0.0, value)))

    def _learn(self, value: float) -> None:
        if self._seen >= _MEMORY:
            self._good *= 0.5
            self._seen *= 0.5
        self._good += value
        self._seen += 1.0

    @property
    def mean_score(self) -> float | None:
        """The average of the outcomes that were reported."""
        return self.total / self.scores if self.scores else None

    @property
    def score_error(self) -> float | None:
        """The standard error of that average."""
        if self.scores < 2:
            return None
        mean = self.total / self.scores
        variance = max(0.0, self.total_squares / self.scores - mean * mean) * self.scores / (self.scores - 1)
        return sqrt(variance / self.scores)

    @property
    def mean_seconds(self) -> float | None:
        """The average time of an answered call."""
        return self.seconds / self.answered if self.answered else None

    @property
    def mean_cost(self) -> float | None:
        """The average cost of an answered call."""
        return self.cost / self.answered if self.answered else None

    def expected(self) -> float:
        """What an answer is likely worth; a half where nothing is known."""
        return (self._good + 1.0) / (self._seen + 2.0)

    def drawn(self, rng: random.Random) -> float:
        """What an answer may be worth: the less is known, the more the draws differ."""
        return rng.betavariate(self._good + 1.0, max(0.0, self._seen - self._good) + 1.0)


class Remembered(NamedTuple):
    """Which model answered a call, and for which alias."""

    alias: str
    target: ModelRef


class Experiments:
    """The arms of every alias, and which of them answered recent calls. Bounded."""

    __slots__ = ("_arms", "_calls")

    def __init__(self) -> None:
        self._arms: OrderedDict[str, dict[ModelRef, Arm]] = OrderedDict()
        self._calls: OrderedDict[str, Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._calls)

    def arms(self, alias: str) -> dict[ModelRef, Arm]:
        """How the models of *alias* have done."""
        arms = self._arms.get(alias)
        if arms is None:
            if len(self._arms) >= _ALIASES:
                self._arms.popitem(last=False)
            arms = self._arms[alias] = {}
        return arms

    def arm(self, alias: str, target: ModelRef) -> Arm:
        """How *target* has done for *alias*."""
        arms = self.arms(alias)
        arm = arms.get(target)
        if arm is None:
            if len(arms) >= _ARMS:
                del arms[next(iter(arms))]
            arm = arms[target] = Arm()
        return arm

    def answered(self, call_id: str, alias: str, target: ModelRef, seconds: float, cost: float) -> None:
        """The call was answered by *target*: an outcome that is reported later finds it by its id."""
        self.arm(alias, target).ended(seconds, cost)
        if len(self._calls) >= _CALLS:
            self._calls.popitem(last=False)
        self._calls[call_id] = Remembered(alias, target)

    def find(self, call_id: str) -> Remembered | None:
        """Who answered that call; `None` where nobody remembers."""
        return self._calls.get(call_id)
