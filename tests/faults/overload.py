"""Simulated load: a service with all its layers, upstreams that answer as a plan says, and a clock that jumps."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.providers.base.response import LLMResponse
from core.llm.testing import FakeClock
from tests.unit.llm.support import World, serving
from tests.unit.pipeline.support import an_answer

Plan = Callable[[float], str]
"""What an upstream does with a request that arrives after so many seconds: `answer`, `fail` or `hang`."""


@dataclass
class Simulated:
    """One upstream: what it was sent, and when."""

    name: str
    plan: Plan
    clock: FakeClock
    latency: float = 0.05
    arrived: list[float] = field(default_factory=list)

    async def generate(self, request: Any) -> LLMResponse:
        """What the plan says, after the usual time; a hanging request ends at its own limit."""
        now = self.clock.elapsed()
        self.arrived.append(now)
        what = self.plan(now)
        if what == "hang":
            await self.clock.sleep(request.limits.first_token)
            raise ProviderError("timeout", "no answer", code="first_token_timeout", billing="ambiguous")
        await self.clock.sleep(self.latency)
        if what == "fail":
            raise ProviderError("server_error", "down", status_code=503)
        response = an_answer(self.name)
        response.provider = self.name
        return response

    def between(self, start: float, end: float) -> int:
        """Requests that arrived in that time."""
        return sum(start <= at < end for at in self.arrived)


@dataclass
class Ended:
    """One call."""

    began: float
    ended: float
    by: str | None
    """Who answered; `None` where nobody did."""


@dataclass
class Load:
    """A steady load on a service."""

    world: World
    clock: FakeClock
    upstreams: dict[str, Simulated]
    calls: list[Ended] = field(default_factory=list)
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def offer(self, rate: float, seconds: float, **request: Any) -> None:
        """Begin *rate* calls a second for that long."""
        for _ in range(round(rate * seconds)):
            task = asyncio.create_task(self._call(request))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            await self.clock.advance(1.0 / rate)

    async def finish(self) -> None:
        """Let every call come to its end."""
        while self._running:
            await self.clock.advance(1.0)

    async def _call(self, request: dict[str, Any]) -> None:
        began, by = self.clock.elapsed(), None
        try:
            by = (await self.world.service.generate("hi", **request)).provider
        except LLMError:
            by = None
        self.calls.append(Ended(began, self.clock.elapsed(), by))

    def answered(self, start: float, end: float) -> float:
        """The share of the calls that began in that time and were answered."""
        calls = [call for call in self.calls if start <= call.began < end]
        return sum(call.by is not None for call in calls) / len(calls)

    def percentile(self, share: float, start: float, end: float) -> float:
        """Seconds within which that share of the calls that began in that time had ended."""
        times = sorted(call.ended - call.began for call in self.calls if start <= call.began < end)
        return times[min(len(times) - 1, int(share * len(times)))]


@asynccontextmanager
async def load(plans: dict[str, Plan], seed: int = 0, latency: float = 0.05, **config: Any) -> AsyncIterator[Load]:
    """A service whose providers do what *plans* say."""
    clock = FakeClock()
    retry = {"initial_delay": "500ms", "max_delay": "8s", "max_retries": 2}
    async with serving(*plans, clock=clock, seed=seed, **{"retry": retry, **config}) as world:
        upstreams = {name: Simulated(name, plan, clock, latency) for name, plan in plans.items()}
        for name, upstream in upstreams.items():
            world.provider(name).generate = upstream.generate  # type: ignore[method-assign]  # follows the plan instead
        yield Load(world, clock, upstreams)


def down_between(start: float, end: float) -> Plan:
    """Fails in that time."""
    return lambda now: "fail" if start <= now < end else "answer"


def failing_at_random(share: float, seed: int) -> Plan:
    """Fails that share of its requests."""
    rng = random.Random(seed)
    return lambda _: "fail" if rng.random() < share else "answer"
