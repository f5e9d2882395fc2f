"""Servers that answer at their own pace, and calls that a strategy distributes among them. Simulated: no clock runs."""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.llm.common.types import ModelRef
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.snapshot import Candidate, RequestView
from core.llm.routing.strategies.contract import Strategy
from core.llm.routing.traffic import Traffic

_REQUEST = LLMRequest(messages="hi")


@dataclass
class Server:
    """Answers *slots* calls at a time; the others wait."""

    name: str
    seconds: Callable[[float], float]
    """How long an answer that begins at a moment takes on average."""
    slots: int = 8
    weight: float = 1.0
    traffic: Traffic = field(default_factory=Traffic)
    free: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = [0.0] * self.slots

    def begin(self, now: float, rng: random.Random) -> float:
        """When a call that arrives now is answered."""
        start = max(now, heapq.heappop(self.free))
        end = start + self.seconds(start) * rng.uniform(0.8, 1.2)
        heapq.heappush(self.free, end)
        return end

    def expected(self, now: float) -> float:
        """What somebody who knows everything would expect of a call that arrives now."""
        return max(0.0, self.free[0] - now) + self.seconds(now)

    def seen(self, now: float) -> Candidate:
        """As the runtime would show it."""
        traffic = self.traffic
        return Candidate(
            ModelRef("p", self.name),
            self.weight,
            traffic.in_flight,
            traffic.latency.read(now),
            traffic.first_token.read(now),
            traffic.errors.read(now) or 0.0,
        )


@dataclass
class Outcome:
    """What callers saw."""

    waits: list[float]
    shares: Counter[str]
    last: Counter[str]
    """Who got the last tenth of the calls."""

    @property
    def mean(self) -> float:
        """Seconds of the average call."""
        return sum(self.waits) / len(self.waits)

    @property
    def p99(self) -> float:
        """Seconds that one call in a hundred exceeds."""
        return sorted(self.waits)[int(len(self.waits) * 0.99)]


def simulate(
    servers: Sequence[Server], strategy: Strategy | None, *, per_second: float, calls: int, seed: int
) -> Outcome:
    """*calls* at random moments; without a strategy by somebody who knows what every server will take."""
    rng = random.Random(seed)
    by_name = {server.name: server for server in servers}
    running: list[tuple[float, float, str]] = []
    outcome = Outcome([], Counter(), Counter())
    now = 0.0
    for turn in range(calls):
        now += rng.expovariate(per_second)
        while running and running[0][0] <= now:
            end, began, name = heapq.heappop(running)
            by_name[name].traffic.in_flight -= 1
            by_name[name].traffic.answered(end - began, end)
        if strategy is None:
            chosen = min(servers, key=lambda server: server.expected(now))
        else:
            ordered = strategy([server.seen(now) for server in servers], RequestView(_REQUEST, turn=turn), rng)
            chosen = by_name[ordered[0].ref.model]
        chosen.traffic.in_flight += 1
        end = chosen.begin(now, rng)
        heapq.heappush(running, (end, now, chosen.name))
        outcome.waits.append(end - now)
        outcome.shares[chosen.name] += 1
        if turn >= calls * 0.9:
            outcome.last[chosen.name] += 1
    return outcome
