"""A long time under faults that change at random: all accounts agree at every stop, and memory stays flat."""

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from core.container import Container
from core.llm import EventBus, LLMService, ProviderModule, UsageLedger
from core.llm.testing import EventRecorder, FaultInjector, FaultPlan, Rule, WireServer
from core.llm.testing.call_log import CallLog
from core.llm.testing.fault_dialects import WIRE_DIALECTS
from core.llm.testing.fault_plan import ANY_FAULT, silence, stall
from core.llm.testing.oracle import Bounds, Oracle
from tests.chaos.suites.measure import LoopLag, Result, resident
from tests.leaks import Resources

CHAIN = ("openai", "anthropic", "gemini", "ollama")


@dataclass(frozen=True)
class Soak:
    """How long, and what is allowed."""

    seconds: float = 120.0
    window: float = 5.0
    """Seconds between two stops at which everything is checked."""
    at_once: int = 30
    memory: float = 0.10
    """Growth over the second half: the first fills what is bounded, such as the ledger in memory."""


def _plan(rng: random.Random) -> FaultPlan:
    rate = rng.choice([0.0, 0.05, 0.2, 0.5])
    slow = Rule(silence(), stall(after=3), probability=0.01)
    return FaultPlan(slow, Rule(*ANY_FAULT, probability=rate), seed=rng.randrange(10**9))


def _config(urls: dict[str, str]) -> dict[str, Any]:
    providers = {
        name: {
            **WIRE_DIALECTS[name].provider,
            "base_url": url,
            "models": {"m": {"context_window": 9000, "max_output_tokens": 100}},
            "timeouts": {"connect": 1, "first_token": 0.3, "idle": 0.3, "total": 1},
        }
        for name, url in urls.items()
    }
    first, *rest = (f"{name}/m" for name in urls)
    return {
        "default_model": "any",
        "models": {"any": {"use": first, "fallback": rest}},
        "providers": providers,
        "retry": {"initial_delay": "5ms", "max_delay": "50ms"},
    }


async def soak(options: Soak, seed: int) -> Result:
    """Windows of random weather; the seed decides every one of them."""
    result, rng = Result("soak", seed), random.Random(seed)
    loop = asyncio.get_running_loop()
    sizes: list[int] = []
    before = Resources.now()
    async with AsyncExitStack() as stack:
        faults, urls, servers = FaultInjector(), dict[str, str](), list[WireServer]()
        for name in CHAIN:
            server = await stack.enter_async_context(WireServer())
            faults.attach(server, WIRE_DIALECTS[name], name=name)
            urls[name] = server.url
            servers.append(server)
        module = ProviderModule({"llm_service": _config(urls)}, watch=False, env={})
        container = await stack.enter_async_context(Container([module]))
        recorder = stack.enter_context(EventRecorder(container.get(EventBus)))
        lag = await stack.enter_async_context(LoopLag())
        until = loop.time() + options.seconds
        while loop.time() < until:
            faults.plan = _plan(rng)
            calls, began = CallLog(container.get(LLMService), users=True), datetime.now(UTC)
            await _window(calls, rng, options, min(until, loop.time() + options.window))
            await asyncio.sleep(0.3)
            # A used connection that breaks is replaced once for each call, free of charge; the machine may be late.
            late = 0.25 + lag.stood
            bounds = Bounds(after_deadline=1 + lag.stood, under_way=late, left_closed_within=late)
            rows = await container.get(UsageLedger).rows(since=began, limit=10_000)
            oracle = Oracle(faults, calls, recorder, bounds, rows=rows)
            broken = list(oracle.broken())
            result.calls += len(calls.calls)
            result.lost += sum(call.ended is None for call in calls.calls)
            result.wrong += len(broken)
            if broken:
                result.complaints.append(oracle.report(broken))
                break
            faults.timeline.clear()
            recorder.clear()
            for server in servers:
                _forget(server)
            # So is what this window has kept of its calls: many in fair weather, few in foul.
            del calls, rows, oracle, broken
            sizes.append(resident())
        result.lag = lag.percentile()
    left = Resources.now().beyond(before)
    result.need(not left, f"left behind: {left[:5]}")
    settled = sizes[len(sizes) // 2 :]
    if len(settled) > 1:
        # The middle of several: what the allocator holds on to differs from one window to the next.
        middle = len(settled) // 2
        then, now = median(settled[:middle]), median(settled[middle:])
        result.memory = (now - then) / then
        result.need(result.memory <= options.memory, f"memory went from {then:.0f} to {now:.0f} bytes")
    return result


def _forget(server: WireServer) -> None:
    """What a server has written down is the rig's own growth."""
    server.requests.clear()
    server.connections[:] = [one for one in server.connections if not one.ended.is_set()]
    for connection in server.connections:
        connection.requests.clear()


async def _window(calls: CallLog, rng: random.Random, options: Soak, until: float) -> None:
    loop = asyncio.get_running_loop()

    async def caller(dice: random.Random) -> None:
        while loop.time() < until:
            kind = dice.random()
            if kind < 0.1:
                await calls.stream(timeout=3, leave_after=2)
            elif kind < 0.6:
                await calls.stream(timeout=3)
            else:
                await calls.generate(timeout=3)
            await asyncio.sleep(dice.uniform(0, 0.05))

    await asyncio.gather(*(caller(random.Random(rng.random())) for _ in range(options.at_once)))
