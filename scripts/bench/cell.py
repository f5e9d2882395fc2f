"""One measurement of one client, in a fresh process: CPU time per call or per chunk, memory; every answer is checked.

Prints one line of JSON. Imports and warm-up are outside the measured window. The mode `first` measures what the others
leave out: everything that a process does until it has one answer.
"""

import argparse
import asyncio
import json
import os
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any

from scripts.bench.upstream import CHUNKS, TEXT

Call = Callable[[], Awaitable[None]]
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Write about foxes and dogs."},
    {"role": "assistant", "content": "Gladly. Which ones?"},
    {"role": "user", "content": "The quick and the lazy."},
]


async def floor(url: str, stream: bool) -> tuple[Call, Call]:
    """Bare aiohttp with `json`: what any client of this transport has to pay."""
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=512))
    headers = {"Authorization": "Bearer sk-bench", "Content-Type": "application/json"}

    async def call() -> None:
        body = json.dumps({"model": "bench-model", "messages": MESSAGES, "temperature": 0.2}).encode()
        async with session.post(f"{url}/chat/completions", data=body, headers=headers) as response:
            answer = json.loads(await response.read())
        assert answer["choices"][0]["message"]["content"] == TEXT * 2

    async def streamed() -> None:
        body = json.dumps({"model": "bench-model", "messages": MESSAGES, "stream": True}).encode()
        count = 0
        async with session.post(f"{url}/chat/completions", data=body, headers=headers) as response:
            async for line in response.content:
                if line.startswith(b"data: ") and line != b"data: [DONE]\n":
                    data = json.loads(line[6:])
                    if data["choices"] and data["choices"][0]["delta"].get("content"):
                        count += 1
        assert count == CHUNKS, count

    return (streamed if stream else call), session.close


async def core_llm(url: str, stream: bool) -> tuple[Call, Call]:
    """This library: container, routing, retries, deadline, keys, breaker, trace and meter, as a host uses it."""
    from core.container import Container
    from core.llm import LLMService, ProviderModule

    provider = {"type": "openai_compatible", "base_url": url, "api_key": "sk-bench", "models": ["bench-model"]}
    config = {"default_model": "bench/bench-model", "providers": {"bench": provider}}
    container = Container([ProviderModule(config, watch=False)])
    await container.start()
    llm = container.get(LLMService)

    async def call() -> None:
        answer = await llm.generate(MESSAGES, temperature=0.2)
        assert answer.content == TEXT * 2

    async def streamed() -> None:
        count = 0
        async with llm.stream(MESSAGES) as events:
            async for event in events:
                if event.text:
                    count += 1
        assert count == CHUNKS, count

    return (streamed if stream else call), container.stop


async def openai(url: str, stream: bool) -> tuple[Call, Call]:
    """The openai SDK with its defaults."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="sk-bench")
    messages: Any = MESSAGES

    async def call() -> None:
        answer = await client.chat.completions.create(model="bench-model", messages=messages, temperature=0.2)
        assert answer.choices[0].message.content == TEXT * 2

    async def streamed() -> None:
        count = 0
        async for event in await client.chat.completions.create(model="bench-model", messages=messages, stream=True):
            if event.choices and event.choices[0].delta.content:
                count += 1
        assert count == CHUNKS, count

    return (streamed if stream else call), client.close


async def litellm(url: str, stream: bool) -> tuple[Call, Call]:
    """LiteLLM's `acompletion` with its defaults."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm as library

    library.suppress_debug_info = True

    async def call() -> None:
        answer = await library.acompletion(
            model="openai/bench-model", api_base=url, api_key="sk-bench", messages=MESSAGES, temperature=0.2
        )
        assert answer.choices[0].message.content == TEXT * 2

    async def streamed() -> None:
        count = 0
        async for event in await library.acompletion(
            model="openai/bench-model", api_base=url, api_key="sk-bench", messages=MESSAGES, stream=True
        ):
            if event.choices and event.choices[0].delta.content:
                count += 1
        assert count == CHUNKS, count

    async def close() -> None:
        await asyncio.sleep(0)

    return (streamed if stream else call), close


CLIENTS = {"floor": floor, "core-llm": core_llm, "openai": openai, "litellm": litellm}


def cpu_seconds() -> float:
    """User and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure(client: str, url: str, mode: str, count: int, concurrency: int) -> dict[str, float]:
    """CPU seconds for *count* calls (or streams) with *concurrency* of them at once."""
    call, close = await CLIENTS[client](url, mode == "stream")

    async def worker(rounds: int) -> None:
        for _ in range(rounds):
            await call()

    async def run(total: int) -> None:
        await asyncio.gather(*(worker(total // concurrency) for _ in range(concurrency)))

    await run(max(concurrency, count // 10 // concurrency * concurrency))
    before, started = cpu_seconds(), time.perf_counter()
    await run(count)
    cpu, wall = cpu_seconds() - before, time.perf_counter() - started
    done = count // concurrency * concurrency
    await close()
    pieces = done * CHUNKS if mode == "stream" else done
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu_us": cpu / pieces * 1e6, "wall_us": wall / pieces * 1e6, "rss_mb": rss, "done": done}


async def first(client: str, url: str) -> dict[str, float]:
    """CPU milliseconds of this process from its beginning to its first answer."""
    call, close = await CLIENTS[client](url, False)
    await call()
    spent = cpu_seconds() * 1e3
    await close()
    return {"cpu_ms": spent, "done": 1}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("url")
    parser.add_argument("--mode", choices=["call", "stream", "first"], default="call")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    given = parser.parse_args()
    if given.mode == "first":
        result = asyncio.run(first(given.client, given.url))
    else:
        result = asyncio.run(measure(given.client, given.url, given.mode, given.count, given.concurrency))
    print(json.dumps(result), flush=True)
