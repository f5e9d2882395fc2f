"""A chat stream whose model has said why it stopped ends soon, whatever the server does with the connection."""

import time

from core.llm.common.types import PhaseLimits
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import ResponseCollector
from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai.provider import OpenAIProvider
from core.llm.testing import provider_services
from core.llm.testing.wire_dialects import openai_stream
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import Stall, WireScript, stream

PING = b": ping\n\n"


async def answer_to(played: WireScript) -> tuple[ResponseCollector, float]:
    """What a caller gets of a stream that is played so, and how long it took."""
    async with WireServer() as server:
        server.will(played)
        provider = OpenAIProvider(OpenAIConfig(base_url=server.url), provider_services("openai"))
        await provider.start()
        asked = LLMRequest(messages="hi")
        request = ChatRequest(
            "openai", "m", asked, asked.messages, provider.facts("m"), PhaseLimits(idle=20, progress=20), stream=True
        )
        collector, began = ResponseCollector(), time.monotonic()
        async for event in provider.stream_generate(request):
            collector.add(event)
        took = time.monotonic() - began
        await provider.close()
        return collector, took


async def test_a_server_that_keeps_the_socket_open_is_waited_for_a_second() -> None:
    """No usage, no `[DONE]`, no end of the body: the answer is complete all the same."""
    frames = openai_stream("one two", usage=False, done=False)
    collector, took = await answer_to(stream(frames, end=False).then(Stall()))
    assert collector.response().content == "one two"
    assert collector.response().finish_reason.unified == "stop"
    assert 0.9 < took < 18  # silence may last 20 s


async def test_pings_do_not_keep_a_finished_stream_alive() -> None:
    """Signs of life are no answer."""
    frames = openai_stream("one", usage=False, done=False)
    collector, took = await answer_to(stream(frames + [PING] * 100, gap=0.1))
    assert collector.response().content == "one"
    assert took < 9  # the pings go on for ten seconds


async def test_usage_that_comes_a_little_later_is_not_lost() -> None:
    """It follows the finish reason in a chunk of its own."""
    frames = openai_stream("one two", done=False)
    collector, took = await answer_to(stream(frames, gap=0.05))
    assert collector.response().usage.output == 2
    assert took < 18
