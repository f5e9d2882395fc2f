"""A chat stream whose model has said why it stopped ends soon, whatever the server does with the connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.llm.common.types import PhaseLimits
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector
from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai.provider import OpenAIProvider
from core.llm.testing import FakeClock, provider_services
from core.llm.testing.wire_dialects import openai_stream
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import Stall, WireScript, stream

PING = b": ping\n\n"


async def answer_of(provider: OpenAIProvider) -> LLMResponse:
    asked = LLMRequest(messages="hi")
    limits = PhaseLimits(idle=20, progress=20)
    request = ChatRequest("openai", "m", asked, asked.messages, provider.facts("m"), limits, stream=True)
    collector = ResponseCollector()
    async for event in provider.stream_generate(request):
        collector.add(event)
    return collector.response()


@asynccontextmanager
async def asking(played: WireScript) -> AsyncIterator[tuple[asyncio.Task[LLMResponse], FakeClock]]:
    """Somebody who waits for the answer to a stream that is played so, once only its end is missing."""
    clock = FakeClock()
    async with WireServer() as server, asyncio.timeout(30):
        server.will(played)
        provider = OpenAIProvider(OpenAIConfig(base_url=server.url), provider_services("openai", clock=clock))
        await provider.start()
        waiting = asyncio.create_task(answer_of(provider))
        try:
            while not waiting.done() and ((due := clock.next_at()) is None or due > clock.monotonic() + 1):
                await asyncio.sleep(0.005)
            yield waiting, clock
        finally:
            waiting.cancel()
            await provider.close()


async def test_a_server_that_keeps_the_socket_open_is_waited_for_a_second() -> None:
    """No usage, no `[DONE]`, no end of the body: the answer is complete all the same."""
    frames = openai_stream("one two", usage=False, done=False)
    async with asking(stream(frames, end=False).then(Stall())) as (waiting, clock):
        await clock.advance(0.9)
        assert not waiting.done()
        await clock.advance(0.2)
        answer = await waiting
    assert (answer.content, answer.finish_reason.unified) == ("one two", "stop")


async def test_pings_do_not_keep_a_finished_stream_alive() -> None:
    """Signs of life are no answer."""
    frames = openai_stream("one", usage=False, done=False)
    async with asking(stream(frames + [PING] * 2000, gap=0.01)) as (waiting, clock):
        for _ in range(11):
            await clock.advance(0.1)
            await asyncio.sleep(0.05)
        assert waiting.done()
        assert waiting.result().content == "one"


async def test_usage_that_comes_a_little_later_is_not_lost() -> None:
    """It follows the finish reason in a chunk of its own."""
    frames = openai_stream("one two", done=False)
    async with asking(stream(frames, gap=0.05)) as (waiting, clock):
        await clock.advance(0.5)
        assert (await waiting).usage.output == 2
