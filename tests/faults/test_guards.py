"""G14: each phase of a stream has a guard of its own, and each fires when it says, to 50 ms, on a clock of the test."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.container import Container
from core.llm import LLMService, ProviderModule
from core.llm.common.exceptions import ProviderError
from core.llm.pipeline.backoff import judge
from core.llm.providers.config.models.service import RetryOptions
from core.llm.testing import FakeClock
from core.llm.testing.wire_dialects import openai_chunk, openai_stream, sse
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import End, Send, Stall, WaitFor, WireScript, script, stream

pytestmark = pytest.mark.usefixtures("no_leaks")

FAR = 500
ROLE = openai_chunk({"role": "assistant", "content": ""})
FILTER = sse({"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]})
PING = b": ping\n\n"
WORD = openai_chunk({"content": "word "})


class Guarded:
    """A stream that is being read, under a clock that stands still."""

    def __init__(self, llm: LLMService, server: WireServer, clock: FakeClock) -> None:
        self.llm = llm
        self.server = server
        self.clock = clock
        self.texts: list[str] = []
        self.reading: asyncio.Task[None] | None = None

    async def read(self) -> None:
        """Begin to read; returns once the request is with the server, or its connection."""
        self.reading = asyncio.create_task(self._read())
        await self.until(lambda: bool(self.server.connections))

    async def _read(self) -> None:
        async with self.llm.stream("hi", timeout=10_000) as events:
            async for event in events:
                if event.text:
                    self.texts.append(event.text)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the network, while the clock stands still."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)

    async def fires_after(self, seconds: float, code: str) -> ProviderError:
        """The guard with *code* goes off *seconds* from now, 50 ms early or late at most."""
        assert self.reading is not None
        await self.clock.advance(seconds - 0.05)
        await asyncio.sleep(0.02)
        assert not self.reading.done(), "too early"
        await self.clock.advance(0.1)
        with pytest.raises(ProviderError) as caught:
            await asyncio.wait_for(self.reading, 5)
        assert (caught.value.type, caught.value.code) == ("timeout", code)
        return caught.value


@asynccontextmanager
async def guarded(answer: WireScript | None, *, https: bool = False, **timeouts: Any) -> AsyncIterator[Guarded]:
    """A service with one upstream that plays *answer*, and far limits but for *timeouts*."""
    clock = FakeClock()
    async with WireServer() as server:
        if answer is not None:
            server.will(answer)
        url = server.url.replace("http:", "https:") if https else server.url
        limits = {"connect": FAR, "first_token": FAR, "idle": FAR, "progress": FAR, "total": 5000, **timeouts}
        provider = {
            "type": "openai", "api": "chat", "api_key": "sk-test", "base_url": url, "models": ["m"],
            "timeouts": limits, "allow_insecure": True,
        }  # fmt: skip
        config = {
            "default_model": "up/m", "providers": {"up": provider}, "retry": {"max_retries": 0},
            "health_check": {"enabled": False},
        }  # fmt: skip
        async with Container([ProviderModule({"llm_service": config}, watch=False, env={}, clock=clock)]) as container:
            yield Guarded(container.get(LLMService), server, clock)


async def test_G14_connect() -> None:
    """A connection whose handshake never ends."""
    async with guarded(None, https=True, connect=7) as it:
        it.server.on_connect(script(Stall()))
        await it.read()
        error = await it.fires_after(7, "connect_timeout")
        assert error.billing == "none"


@pytest.mark.parametrize(
    "frames", [[], [ROLE], [PING], [FILTER], [FILTER, ROLE, PING]], ids=["head", "role", "ping", "filter", "all"]
)
async def test_G14_first_token(frames: list[bytes]) -> None:
    """A role, a ping and a filter's result are no output: the guard of the first token does not hear them."""
    async with guarded(stream(frames, end=False).then(Stall()), first_token=20, progress=3, idle=4) as it:
        await it.read()
        await it.until(lambda: bool(it.server.requests))
        await asyncio.sleep(0.1)
        await it.fires_after(20, "first_token_timeout")


async def test_G14_gap() -> None:
    """Silence after output."""
    async with guarded(stream([ROLE, WORD], end=False).then(Stall()), idle=9) as it:
        await it.read()
        await it.until(lambda: bool(it.texts))
        error = await it.fires_after(9, "idle_timeout")
        assert error.partial is not None
        assert error.partial.text == "word "


async def test_G14_progress() -> None:
    """Signs of life after output keep the gap's guard quiet, not this one."""
    pings = [asyncio.Event() for _ in range(3)]
    steps = [step for ping in pings for step in (WaitFor(ping), Send(PING + FILTER + ROLE))]
    async with guarded(stream([ROLE, WORD], end=False).then(*steps, Stall()), idle=5, progress=14) as it:
        await it.read()
        await it.until(lambda: bool(it.texts))
        for ping in pings:
            await it.clock.advance(4)
            sent = it.server.requests[0].sent
            ping.set()
            await it.until(lambda sent=sent: it.server.requests[0].sent > sent)
            await asyncio.sleep(0.1)
        await it.fires_after(2, "progress_timeout")


async def test_G14_total() -> None:
    """One attempt as a whole, whatever it is doing."""
    async with guarded(stream([ROLE, WORD], end=False).then(Stall()), total=31) as it:
        await it.read()
        await it.until(lambda: bool(it.texts))
        await it.fires_after(31, "deadline_exceeded")


async def test_G14_minimum_rate() -> None:
    """Neither silent nor without progress, only too slow: ten seconds of waiting bring fewer than twenty tokens."""
    words = [asyncio.Event() for _ in range(3)]
    steps = [step for word in words for step in (WaitFor(word), Send(WORD))]
    async with guarded(
        stream([ROLE, WORD], end=False).then(*steps, Stall()), min_rate=2, rate_window=10, idle=6, progress=6
    ) as it:
        await it.read()
        await it.until(lambda: bool(it.texts))
        for number, word in enumerate(words, 2):
            await it.clock.advance(2.5)
            word.set()
            await it.until(lambda number=number: len(it.texts) == number)
        error = await it.fires_after(2.5, "too_slow")
        assert error.partial is not None
        assert error.partial.text == "word " * 4
        assert error.billing == "estimated"
        assert "min_rate" in str(error)


async def test_G14_a_stream_that_keeps_its_rate_is_left_alone() -> None:
    """Window after window; and a consumer that takes its time is not counted against it."""
    again = asyncio.Event()
    async with guarded(
        stream([ROLE, *[WORD] * 30], end=False).then(
            WaitFor(again), Send(b"".join(openai_stream("word " * 30)[1:])), End()
        ),
        min_rate=2,
        rate_window=10,
    ) as it:
        async with it.llm.stream("hi", timeout=10_000) as events:
            await anext(events)
            await it.clock.advance(100)
            for _ in range(30):
                await anext(events)
            reading = asyncio.create_task(events.response())
            await asyncio.sleep(0.05)
            await it.clock.advance(9.9)
            again.set()
            response = await asyncio.wait_for(reading, 10)
        assert response.content.count("word") == 60


@pytest.mark.parametrize(
    "code", ["connect_timeout", "first_token_timeout", "idle_timeout", "progress_timeout", "too_slow"]
)
def test_G14_a_route_that_never_answers_is_tried_again_only_when_alone(code: str) -> None:
    """Not while another candidate is left; with no other one, once."""

    def verdict(retries: int, alternatives: bool) -> bool:
        found = judge(
            ProviderError("timeout", "silent", code=code),
            RetryOptions(),
            retries=retries,
            free=True,
            max_retries=5,
            remaining=1000,
            alternatives=alternatives,
            rng=random.Random(1),
        )
        return found.delay is not None

    assert [verdict(0, True), verdict(0, False), verdict(1, False)] == [False, True, False]
