"""Steady calls while things go wrong: an outage, random errors, one of three servers dead. Real time, real sockets."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from core.container import Container
from core.llm import LLMService, ProviderModule, UsageLedger
from core.llm.state.memory import KEPT
from core.llm.testing import FaultInjector, FaultPlan, Rule, WireServer
from core.llm.testing.call_log import CallLog, CallRecord, Sent, attempts_of
from core.llm.testing.fault_dialects import OPENAI
from core.llm.testing.fault_plan import Fault, refuse, reset, slow
from core.llm.testing.oracle import Bounds, Oracle
from core.llm.testing.toxics import Timeout, ToxicProxy
from tests.chaos.suites.measure import LoopLag, Result

Account = Callable[[CallRecord], Sequence[Sent]]
LATENCY = 0.02
NORMAL = slow(LATENCY)
"""What a request that nothing befalls takes."""


@dataclass(frozen=True)
class Storm:
    """How hard, how long, and what is allowed."""

    rate: float = 100.0
    calm: float = 10.0
    outage: float = 30.0
    after: float = 25.0
    errors: float = 0.2
    errors_for: float = 20.0
    hole_for: float = 30.0
    hole_latency: float = 0.25
    """What a request takes beside the hole: long enough for a machine's own delays to fit into `slower`."""
    load: float = 1.3
    recovery: float = 15.0
    success: float = 0.99
    slower: float = 1.2


@dataclass
class Weather:
    """A service with servers, and calls at a steady rate."""

    storm: Storm
    faults: FaultInjector
    calls: CallLog
    lag: LoopLag
    rng: random.Random
    ledger: UsageLedger

    async def blow(self, seconds: float) -> list[CallRecord]:
        """Calls at random moments, at the rate of the storm; returns them all once they have ended."""
        loop, first = asyncio.get_running_loop(), len(self.calls.calls)
        until, due, tasks = loop.time() + seconds, loop.time(), set[asyncio.Task[Any]]()
        while due < until:
            await asyncio.sleep(max(0.0, due - loop.time()))
            tasks.add(asyncio.create_task(self.calls.generate(timeout=5)))
            due += self.rng.expovariate(self.storm.rate)
        await asyncio.gather(*tasks)
        return self.calls.calls[first:]

    def load(self, began: float, seconds: float, made: list[CallRecord]) -> float:
        """Requests per call that arrived in the worst second of a time."""
        worst = 0.0
        for second in range(int(seconds)):
            start = began + second
            arrived = sum(start <= entry.at < start + 1 for entry in self.faults.timeline)
            called = sum(start <= call.began < start + 1 for call in made)
            worst = max(worst, arrived / max(called, 1, self.storm.rate / 2))
        return worst


@asynccontextmanager
async def weather(storm: Storm, seed: int, plan: FaultPlan, ports: list[int] | None = None) -> AsyncIterator[Weather]:
    """One server, or one for each port of *ports*: a proxy that leads to it."""
    async with AsyncExitStack() as stack:
        faults = FaultInjector(plan)
        urls = [f"http://127.0.0.1:{port}" for port in ports or []]
        if not urls:
            server = await stack.enter_async_context(WireServer())
            faults.attach(server, OPENAI, name="p0")
            urls = [server.url]
        names = [f"p{number}" for number in range(len(urls))]
        use = [f"{name}/m" for name in names]
        provider = {**OPENAI.provider, "models": ["m"], "timeouts": {"first_token": 1, "total": 2}}
        config: dict[str, Any] = {
            "default_model": "any",
            "models": {"any": {"use": use, "strategy": "round_robin"} if len(use) > 1 else {"use": use}},
            "providers": {name: {**provider, "base_url": url} for name, url in zip(names, urls, strict=True)},
        }
        module = ProviderModule({"llm_service": config}, watch=False, env={})
        container = await stack.enter_async_context(Container([module]))
        lag = await stack.enter_async_context(LoopLag())
        calls = CallLog(container.get(LLMService), users=True)
        yield Weather(storm, faults, calls, lag, random.Random(seed), container.get(UsageLedger))


async def _finished(result: Result, sky: Weather, account: Account = attempts_of) -> Result:
    result.calls, result.lag, result.stood = len(sky.calls.calls), sky.lag.percentile(), sky.lag.stood
    result.lost = sum(call.ended is None for call in sky.calls.calls)
    late = 0.25 + sky.lag.stood  # a request may arrive late by the machine
    bounds = Bounds(after_deadline=1 + sky.lag.stood, under_way=late, left_closed_within=late)
    rows = await sky.ledger.rows(limit=KEPT)
    told = rows if account is attempts_of and len(rows) < KEPT else None  # else some are forgotten, or never arrived
    broken = list(Oracle(sky.faults, sky.calls, bounds=bounds, attempts=account, rows=told).broken())
    result.wrong = len(broken)
    result.complaints += broken[:3]
    return result


async def outage(storm: Storm, seed: int) -> Result:
    """F89: the only server is down for a while; it is neither stormed when it is back, nor left alone for long."""
    down = Rule(refuse(503), between=(storm.calm, storm.calm + storm.outage))
    async with weather(storm, seed, FaultPlan(down, Rule(NORMAL), seed=seed)) as sky:
        result = Result("storm: outage", seed)
        made = await sky.blow(storm.calm + storm.outage + storm.after)
        back = sky.faults.timeline[0].at + storm.calm + storm.outage
        result.load = sky.load(back, min(5.0, storm.after), made)
        result.need(result.load <= storm.load, f"{result.load:.2f} requests for each call after the outage")
        lost = [call.began - back for call in made if call.error is not None and call.began > back]
        result.recovery = max(lost, default=0.0)
        result.need(result.recovery <= storm.recovery, f"calls failed until {result.recovery:.1f} s after the outage")
        early = [call for call in made if call.error is not None and call.began < back - storm.outage - 0.1]
        result.need(not early, f"{len(early)} calls failed before the outage")
        return await _finished(result, sky)


async def errors(storm: Storm, seed: int) -> Result:
    """F90: one request in five fails; almost no call does, and the server sees little more than before."""
    faults: tuple[Fault, ...] = (refuse(500), refuse(503), reset())
    # After a moment of calm: the first three answers a server ever gives are not all errors where one in five is.
    calm = min(storm.calm, 2.0)
    failing = Rule(*faults, probability=storm.errors, between=(calm, float("inf")))
    plan = FaultPlan(failing, Rule(NORMAL), seed=seed)
    async with weather(storm, seed, plan) as sky:
        result = Result("storm: errors", seed)
        made = await sky.blow(calm + storm.errors_for)
        began = sky.faults.timeline[0].at + calm
        made = [call for call in made if call.began >= began]
        good = sum(call.response is not None for call in made) / len(made)
        result.load = sum(entry.at >= began for entry in sky.faults.timeline) / len(made)
        result.need(good >= storm.success, f"only {good:.1%} of the calls were answered")
        result.need(result.load <= storm.load, f"{result.load:.2f} requests for each call")
        return await _finished(result, sky)


async def black_hole(storm: Storm, seed: int) -> Result:
    """F91: one server of three swallows everything; after a moment calls take as long as before."""
    async with AsyncExitStack() as stack:
        inner = FaultInjector(FaultPlan(Rule(slow(storm.hole_latency)), seed=seed))
        proxies = []
        for number in range(3):
            server = await stack.enter_async_context(WireServer())
            inner.attach(server, OPENAI, name=f"p{number}")
            proxies.append(await stack.enter_async_context(ToxicProxy("127.0.0.1", server.port)))
        sky = await stack.enter_async_context(weather(storm, seed, inner.plan, [proxy.port for proxy in proxies]))
        sky.faults = inner
        result = Result("storm: black hole", seed)
        normal = _slow(await sky.blow(storm.calm))
        proxies[0].add(Timeout(), "up")
        noticing = await sky.blow(min(5.0, storm.calm))
        after = await sky.blow(storm.hole_for)
        result.load = len(sky.faults.timeline) / len(sky.calls.calls)
        late = _slow(after)
        lost = [call for call in (*noticing, *after) if call.error is not None]
        result.need(not lost, f"{len(lost)} calls failed")
        result.need(late <= storm.slower * normal, f"99 % took {late * 1000:.0f} ms, {normal * 1000:.0f} ms before")
        return await _finished(result, sky, _swallowed)


def _swallowed(record: CallRecord) -> Sequence[Sent]:
    """The account of a call; what the hole has swallowed was sent, and has arrived nowhere."""
    return [replace(one, sent=None) if one.failed and one.sent else one for one in attempts_of(record)]


def _slow(calls: list[CallRecord]) -> float:
    taken = sorted((call.ended or call.began) - call.began for call in calls)
    return taken[int(len(taken) * 0.99)] if taken else 0.0
