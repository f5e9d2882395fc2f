"""Calls that come together are computed together, and none of them notices."""

import asyncio

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.response import TextDelta
from core.llm.providers.transformers.provider import TransformersProvider
from tests.transformers.conftest import chat
from tests.transformers.tiny import ANSWERS, WEATHER

pytestmark = pytest.mark.asyncio(loop_scope="session")

COUNT = ANSWERS["Count"]


async def test_the_model_is_batched(provider: TransformersProvider) -> None:
    """The probe after the load has found the same scores."""
    await provider.load_model("tiny")

    assert provider._models["tiny"].loaded_as["batch"] == 8


async def test_a_batch_gives_each_call_its_own_answer(provider: TransformersProvider) -> None:
    """The one it would have got alone: prompts of several lengths, tools, a schema, stops, limits."""
    asked = [
        *[chat(question) for question in ("Say hello", "Count", "Greet the world")],
        chat("Weather in Paris and Rome?", tools=[WEATHER]),
        chat("Count", stop=[" five"]),
        chat("Count", max_tokens=2),
        chat("Count", temperature=3.0, seed=3, max_tokens=10),
        chat("Say hello", response_format={"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}),
    ]

    alone = [await provider.generate(request) for request in asked]
    together = await asyncio.gather(*[provider.generate(request) for request in asked])

    for one, other in zip(alone, together, strict=True):
        assert (one.content, one.finish_reason, one.usage) == (other.content, other.finish_reason, other.usage)
        assert [call.arguments for call in one.tool_calls] == [call.arguments for call in other.tool_calls]


async def test_more_calls_than_places_all_get_an_answer(provider: TransformersProvider) -> None:
    """Those that do not fit wait."""
    answers = await asyncio.gather(*[provider.generate(chat("Count")) for _ in range(24)])

    assert {answer.content for answer in answers} == {COUNT}


async def test_WK06_a_call_that_is_left_ends_within_a_token(provider: TransformersProvider) -> None:
    """Its place is free, and those who share its batch go on."""
    worker = provider._models["tiny"]._worker
    other = asyncio.ensure_future(provider.generate(chat("Greet the world")))
    # No end token: without its being left this one would fill the window.
    endless = {str(token): -1000 for token in range(3)}
    stream = provider.stream_generate(chat("Count", stream=True, raw={"logit_bias": endless}))
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    await stream.aclose()

    assert (await other).content == ANSWERS["Greet the world"]
    async with asyncio.timeout(30):
        while worker.calls:
            await asyncio.sleep(0.01)
    assert worker._slots.free == 8


async def test_a_row_that_fails_does_not_disturb_the_others(provider: TransformersProvider) -> None:
    """One refusal among several calls is one refusal."""
    asked = [
        chat("Count"),
        chat("x " * 400),
        chat("Say hello"),
        chat("Say hello", response_format={"type": "nonsense"}),
    ]
    results = await asyncio.gather(*[provider.generate(request) for request in asked], return_exceptions=True)

    assert [isinstance(result, ProviderError) for result in results] == [False, True, False, True]
    assert results[0].content == COUNT
