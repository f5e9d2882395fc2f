"""What the layers around a provider cost: CPU per call and per streamed chunk, less the provider itself.

One process measures one set-up: slices of bare provider calls and of calls through `LLMService` take turns, and the
median of their differences is printed as one line of JSON.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from loguru import logger

from core.container import Container
from core.llm import LLMRequest, LLMService, ProviderModule
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.providers.base.request import ChatRequest
from core.llm.testing.services import provider_services
from scripts.bench.cell import MESSAGES, cpu_seconds
from scripts.bench.instant import CHUNKS, INSTANT, InstantConfig, InstantProvider

SETTINGS = {
    "default": "as configured by nobody",
    "limits": "requests and tokens per minute",
    "balanced": "least_in_flight over three",
    "hedged": "hedge after 10 s",
    "mended": "mid_stream: restart",
    "cached": "cache, answered from it",
    "sqlite": "ledger in a file",
    "everything": "all of these, cache missed",
}
_PRICE = {"price": {"input": 1, "output": 2}}
_SLICES = 7
"""Pairs of slices in one process; an odd number."""
Run = Callable[[LLMRequest], Awaitable[None]]


def configuration(name: str, folder: Path) -> dict[str, Any]:
    """The configuration of the set-up called *name*."""
    every = name == "everything"
    provider: dict[str, Any] = {"type": "instant", "api_key": "sk-bench", "models": {"m": _PRICE}}
    alias: dict[str, Any] = {"use": "one/m", "fallback": ["two/m"]}
    config: dict[str, Any] = {"default_model": "fast", "models": {"fast": alias}, "health_check": {"enabled": False}}
    if every or name == "limits":
        provider["rate_limits"] = {"requests_per_minute": 10**9, "tokens_per_minute": 10**12}
    if every or name == "balanced":
        alias |= {"use": ["one/m", "two/m", "three/m"], "strategy": "least_in_flight", "fallback": []}
    if every or name == "hedged":
        alias["hedge"] = "10s"
    if every or name == "mended":
        alias["mid_stream"] = {"policy": "restart"}
    if every or name == "cached":
        config["cache"] = {"enabled": True}
    if every or name == "sqlite":
        config["state"] = {"backend": "sqlite", "path": str(folder / "ledger.db")}
    config["providers"] = dict.fromkeys(("one", "two", "three"), provider)
    return {"llm_service": config}


@asynccontextmanager
async def service(name: str) -> AsyncIterator[LLMService]:
    """The library in that set-up, as a host uses it."""
    logger.remove()
    with tempfile.TemporaryDirectory() as folder:
        module = ProviderModule(configuration(name, Path(folder)), plugins=[INSTANT], watch=False, env={})
        async with Container([module]) as container:
            yield container.get(LLMService)


def bare(*, stream: bool) -> Run:
    """The provider alone, with the request that the layers would hand it."""
    provider = InstantProvider(InstantConfig(), provider_services(name="one"))

    async def call(request: LLMRequest) -> None:
        handed = ChatRequest("one", "m", request, request.messages, ModelFacts(), PhaseLimits(), "sk-bench", stream)
        if not stream:
            await provider.generate(handed)
            return
        async for event in provider.stream_generate(handed):
            event.text  # noqa: B018 - what a consumer does

    return call


def through(llm: LLMService, *, stream: bool) -> Run:
    """The same through all layers."""

    async def call(request: LLMRequest) -> None:
        if not stream:
            await llm.generate(request)
            return
        async with llm.stream(request) as events:
            async for event in events:
                event.text  # noqa: B018 - what a consumer does

    return call


async def cpu_of(run: Run, requests: list[LLMRequest], concurrency: int) -> float:
    """CPU seconds for all *requests*."""

    async def worker(mine: list[LLMRequest]) -> None:
        for request in mine:
            await asyncio.sleep(0)
            await run(request)

    before = cpu_seconds()
    await asyncio.gather(*(worker(requests[number::concurrency]) for number in range(concurrency)))
    return cpu_seconds() - before


async def measure(name: str, concurrency: int, count: int, *, stream: bool) -> float:
    """Median over the slices of what one call, or one chunk, costs more than the provider alone; in microseconds."""
    pieces = count * (CHUNKS if stream else 1)
    missed = name == "everything"

    def requests() -> list[LLMRequest]:
        plain = LLMRequest(messages=MESSAGES)
        if not missed:
            return [plain] * count
        return [LLMRequest(messages=[*MESSAGES, {"role": "user", "content": str(next(numbers))}]) for _ in range(count)]

    numbers = iter(range(10**9))
    found: list[float] = []
    async with service(name) as llm:
        alone, whole = bare(stream=stream), through(llm, stream=stream)
        for number in range(_SLICES + 1):
            asked = requests()
            # What is answered from the cache asks no provider.
            less = 0.0 if name == "cached" else await cpu_of(alone, asked, concurrency)
            more = await cpu_of(whole, asked, concurrency)
            if number:  # the first slice is to get warm
                found.append((more - less) / pieces * 1e6)
    return statistics.median(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--count", type=int, default=1280)
    parser.add_argument("--concurrency", type=int, default=64)
    given = parser.parse_args()
    found = asyncio.run(measure(given.setting, given.concurrency, given.count, stream=given.stream))
    print(json.dumps({"cpu_us": found}), flush=True)
