"""Very many calls at once, and very many open streams: none is lost, the loop stays quick, memory comes back."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.container import Container
from core.llm import LLMError, LLMService, ProviderModule, UsageLedger
from tests.chaos.hosting import ROOT
from tests.chaos.suites.measure import LoopLag, Result, resident
from tests.chaos.suites.server import TEXT


@dataclass(frozen=True)
class Scale:
    """How many, and what is allowed."""

    calls: int = 10_000
    streams: int = 1000
    pool: int = 500
    pieces: int = 20
    gap: float = 0.25
    warm: int = 10_000
    """Calls before the measurement: what is allocated once is not growth."""
    slice: int = 10
    """Calls that arrive in one turn of the loop; all of them are open long before the first is answered."""
    lag: float = 0.05
    memory: float = 0.10


@asynccontextmanager
async def server(delay: float, pieces: int, gap: float) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The server process, and where it listens."""
    arguments = [sys.executable, "-m", "tests.chaos.suites.server", str(delay), str(pieces), str(gap)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, stdin=pipe, stdout=pipe)
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 60))
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.returncode is None:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.communicate(), 10)
            except TimeoutError:
                process.kill()
                await process.communicate()


def module(url: str, pool: int) -> ProviderModule:
    """One provider with a pool of that size."""
    provider = {"type": "openai_compatible", "base_url": url, "models": ["m"], "max_connections": pool}
    config = {"default_model": "p/m", "providers": {"p": provider}, "health_check": {"enabled": False}}
    return ProviderModule({"llm_service": config}, watch=False, env={})


async def _whole(llm: LLMService, result: Result) -> None:
    try:
        response = await llm.generate("go")
        result.wrong += response.content != TEXT
    except LLMError as error:
        result.lost += 1
        result.need(result.lost > 3, f"a call failed: {error}")


async def _stream(llm: LLMService, result: Result, pieces: int) -> None:
    count = 0
    try:
        async with llm.stream("go") as events:
            async for event in events:
                count += bool(event.text)
        result.wrong += count != pieces
    except LLMError as error:
        result.lost += 1
        result.need(result.lost > 3, f"a stream failed: {error}")


async def _all(starts, slice_size: int) -> None:
    tasks = []
    for number, start in enumerate(starts, 1):
        tasks.append(asyncio.create_task(start))
        if number % slice_size == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)


async def calls(scale: Scale, seed: int = 0) -> Result:
    """All calls are open at the same time, through a pool that is much smaller."""
    result = Result("scale: calls", seed, scale.calls)
    async with server(0.05, 0, 0) as (url, _), Container([module(url, scale.pool)]) as container:
        llm = container.get(LLMService)
        await _all((_whole(llm, result) for _ in range(scale.warm)), scale.slice)
        before = resident()
        async with LoopLag() as lag:
            await _all((_whole(llm, result) for _ in range(scale.calls)), scale.slice)
        await asyncio.sleep(0.2)
        after = resident()
        await _booked(container, result, scale.warm + scale.calls)
    return _judged(result, scale, lag, before, after)


async def streams(scale: Scale, seed: int = 0) -> Result:
    """All streams are open at the same time, each with a piece now and then."""
    result = Result("scale: streams", seed, scale.streams)
    async with (
        server(0.05, scale.pieces, scale.gap) as (url, _),
        Container([module(url, scale.streams)]) as container,
    ):
        llm = container.get(LLMService)
        # As many connections as there will be streams: their buffers are what a pool costs, not what a stream leaks.
        await _all((_stream(llm, result, scale.pieces) for _ in range(scale.streams)), scale.slice)
        before = resident()
        async with LoopLag() as lag:
            await _all((_stream(llm, result, scale.pieces) for _ in range(scale.streams)), scale.slice)
        await asyncio.sleep(0.2)
        after = resident()
        await _booked(container, result, 2 * scale.streams)
    return _judged(result, scale, lag, before, after)


async def _booked(container: Container, result: Result, made: int) -> None:
    """Each answer is in the ledger, and each once."""
    totals = await container.get(UsageLedger).totals()
    settled = sum(total.attempts for total in totals if total.state in {"settled", "estimated"})
    result.need(settled == made, f"the ledger has {settled} answers, there were {made}")


def _judged(result: Result, scale: Scale, lag: LoopLag, before: int, after: int) -> Result:
    result.lag, result.memory = lag.percentile(), (after - before) / before
    result.need(
        result.lag <= scale.lag,
        f"the loop was late by {lag.percentile() * 1000:.0f} ms (p99), {lag.worst * 1000:.0f} ms at worst",
    )
    result.need(result.memory <= scale.memory, f"memory grew from {before / 2**20:.0f} to {after / 2**20:.0f} MiB")
    return result
