"""Run one client through one situation: two servers that speak its dialect, and the verdict."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from core.llm.testing.fault_dialects import OPENAI, WireDialect, usage_of
from core.llm.testing.fault_injector import FaultInjector
from core.llm.testing.fault_plan import FaultPlan, Refuse
from core.llm.testing.wire_server import WireRequest, WireServer
from core.llm.testing.wire_steps import WireScript, answer
from scripts.failover_bench.situations import WORDS, Got, Seen, Situation, Times, Verdict

_AFTER_OUTAGE = 3.0
"""How much longer than allowed a client may take to return before nobody waits any more, as a multiple."""


class Client(Protocol):
    """One library, set up with a primary and a fallback."""

    async def call(self, *, stream: bool) -> Got:
        """One call; its error is part of what it got."""

    async def close(self) -> None:
        """Let go of everything."""


Setup = Callable[[str, str, Times], Any]
"""Makes a client: URL of the primary, URL of the fallback, times."""


@dataclass(frozen=True)
class Cell:
    """One result."""

    verdict: Verdict
    notes: tuple[str, ...]
    primary_requests: int
    """Requests that the failing primary saw."""
    spare_requests: int
    delivered: int
    """Words that the error says were delivered before it."""
    report: str
    """Plan and timeline."""


def primary_text(number: int) -> str:
    """The primary's answers, each another one."""
    return " ".join(f"p{number}.{word}" for word in range(WORDS))


def spare_text(number: int) -> str:
    """The fallback's answers, of another length."""
    return " ".join(f"s{number}.{word}" for word in range(WORDS - 7))


def _without_prefill(dialect: WireDialect, faults: FaultInjector) -> Callable[[WireRequest], WireScript]:
    inner = faults.chooser(dialect, name="spare", text=spare_text, plan=FaultPlan())

    def choose(request: WireRequest) -> WireScript:
        body = request.json()
        turns = body.get("messages") or body.get("contents") or [{}]
        if turns[-1].get("role") in {"assistant", "model"}:
            refusal = dialect.refuse(Refuse(400, "This model does not support a prefilled assistant message."))
            return answer(refusal.body, refusal.status, refusal.headers)
        return inner(request)

    return choose


@asynccontextmanager
async def _servers(situation: Situation, times: Times, dialect: WireDialect) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(WireServer())
        spare = await stack.enter_async_context(WireServer())
        faults = FaultInjector(situation.plan(times))
        faults.attach(primary, dialect, name="primary", text=primary_text)
        if situation.prefill_refused:
            spare.choose(_without_prefill(dialect, faults))
        else:
            faults.attach(spare, dialect, name="spare", text=spare_text, plan=FaultPlan())
        yield primary, spare, faults


async def _one(client: Client, stream: bool, times: Times) -> Got:
    began = time.monotonic()
    try:
        got = await asyncio.wait_for(client.call(stream=stream), times.hang())
    except TimeoutError:
        got = Got(hung=True)
    got.seconds = time.monotonic() - began
    return got


async def run_cell(
    situation: Situation, setup: Setup, *, stream: bool, times: Times, dialect: WireDialect = OPENAI
) -> Cell:
    """One situation for one client."""
    async with _servers(situation, times, dialect) as (primary, spare, faults):
        client: Client = await setup(primary.url, spare.url, times)
        try:
            seen = Seen([], [], [], times)
            if situation.calls == 1:
                seen.calls.append(await _one(client, stream, times))
            else:
                await _outage(client, stream, situation, faults, seen)
        finally:
            await client.close()
        seen.primary, seen.spare = faults.requests("primary"), faults.requests("spare")
        if seen.spare:
            used = usage_of(seen.spare[-1].text)
            seen.spare_usage = (used.input, used.output)
        verdict = situation.judge(seen)
        failing = sum(not entry.answered for entry in seen.primary)
        delivered = len(seen.got.delivered.split())
        return Cell(verdict, tuple(seen.notes), failing, len(seen.spare), delivered, faults.report())


async def _outage(client: Client, stream: bool, situation: Situation, faults: FaultInjector, seen: Seen) -> None:
    """Calls spread over the outage; afterwards more of them, until the primary answers again or nobody believes it."""
    times, began = seen.times, time.monotonic()
    pause = times.outage / situation.calls
    for number in range(situation.calls):
        await asyncio.sleep(max(0.0, began + number * pause - time.monotonic()))
        seen.calls.append(await _one(client, stream, times))
    first = faults.timeline[0].at if faults.timeline else began
    seen.recovered_at = first + times.outage
    await asyncio.sleep(max(0.0, seen.recovered_at - time.monotonic()))
    while time.monotonic() < seen.recovered_at + _AFTER_OUTAGE * times.back:
        seen.calls.append(await _one(client, stream, times))
        if any(entry.answered for entry in faults.requests("primary")):
            seen.returned_at = time.monotonic()
            return
        await asyncio.sleep(min(pause, times.back / 10))
