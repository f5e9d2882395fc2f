"""The real engine and the real small model: answers, streams, tools, structured output, errors, cancelling."""

import asyncio
import json
import time
from contextlib import aclosing
from decimal import Decimal

import psutil
import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.response import ResponseCollector, StreamFinish, StreamStart, TextDelta, UsageReport
from core.llm.providers.llama_cpp import local_model
from tests.unit.providers.llama_cpp.conftest import chat

pytestmark = pytest.mark.leakcheck

WEATHER = {
    "name": "get_weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


async def test_a_question_gets_a_whole_answer(provider):
    """With its tokens, and named by the configured names instead of a path."""
    answer = await provider.generate(chat())
    assert len(answer.content) > 20
    assert answer.finish_reason.unified == "stop"
    assert (answer.provider, answer.model) == ("local", "tiny")
    assert answer.usage.input_total > 5
    assert answer.usage.output > 5
    assert not answer.usage.estimated


async def test_a_stream_adds_up_to_the_same_answer(provider):
    """Start first, finish last, each exactly once; the text comes in pieces."""
    whole = await provider.generate(chat())
    events = [event async for event in provider.stream_generate(chat(stream=True))]
    assert isinstance(events[0], StreamStart)
    assert isinstance(events[-1], StreamFinish)
    assert sum(isinstance(event, StreamStart | StreamFinish) for event in events) == 2
    assert sum(isinstance(event, TextDelta) for event in events) > 5
    assert any(isinstance(event, UsageReport) for event in events)
    collector = ResponseCollector()
    for event in events:
        collector.add(event)
    assert collector.response().content == whole.content


async def test_parallel_answers_equal_single_ones(provider):
    """Slots do not mix (trap 6)."""
    questions = ["What is dependency injection?", "hello", "who are you?", "What is a fallback?"]
    alone = [(await provider.generate(chat(question))).content for question in questions]
    together = await asyncio.gather(*[provider.generate(chat(question)) for question in questions * 3])
    assert [answer.content for answer in together] == alone * 3


async def test_a_tool_can_be_forced(provider):
    """Name and arguments are held to the definition by the engine's grammar."""
    answer = await provider.generate(chat("What is the weather in Oslo?", tools=[WEATHER], tool_choice="required"))
    (call,) = answer.tool_calls
    assert call.name == "get_weather"
    assert list(call.arguments) == ["city"]
    assert answer.finish_reason.unified == "tool_calls"


async def test_an_answer_can_be_held_to_a_schema(provider):
    """It is valid JSON that fits, whatever the model would have said."""
    answer = await provider.generate(chat("Anna is 31 years old.", response_format=PERSON, max_tokens=200))
    value = json.loads(answer.content)
    assert set(value) == {"name", "age"}
    assert isinstance(value["age"], int)


async def test_parameters_reach_the_engine(provider):
    """Length, stop words, and raw fields by the engine's own names."""
    short = await provider.generate(chat(max_tokens=3))
    assert (short.usage.output, short.finish_reason.unified) == (3, "length")
    full = (await provider.generate(chat())).content
    word = full.split()[3]
    stopped = await provider.generate(chat(stop=[word]))
    assert stopped.content == full[: full.index(word)]
    forced = await provider.generate(chat(raw={"grammar": 'root ::= "yes"'}))
    assert forced.content == "yes"


async def test_what_the_engine_does_not_know_is_left_out_with_a_warning(provider):
    """Thinking and user are not sent, and the caller is told."""
    request = chat(thinking="high", user="u-1")
    await provider.generate(request)
    assert {warning.parameter for warning in request.warnings} == {"thinking", "user"}


async def test_a_prompt_that_does_not_fit_is_a_context_error(provider):
    """Another candidate with more room may be asked; the same one will not do."""
    with pytest.raises(ProviderError) as whole:
        await provider.generate(chat("word " * 3000))
    with pytest.raises(ProviderError) as streamed:
        async for _ in provider.stream_generate(chat("word " * 3000, stream=True)):
            pass
    for caught in (whole, streamed):
        assert (caught.value.type, caught.value.retryable) == ("context_length", False)


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "nonsense"}},
        {"raw": {"grammar": "root ::= ("}},
        {
            "text": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}],
                }
            ]
        },
    ],
)
async def test_a_request_that_the_engine_refuses_is_an_invalid_request(provider, fields):
    """A broken schema, a broken grammar, a picture for a text model; the next call works."""
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat(**fields))
    assert caught.value.type == "invalid_request"
    assert (await provider.generate(chat("hello"))).content


async def test_an_unknown_model_names_the_known_ones(provider):
    """A typing error is found at once."""
    with pytest.raises(ProviderError, match="configured are tiny") as caught:
        await provider.generate(chat(model="tyni"))
    assert caught.value.type == "model_not_found"


async def test_leaving_a_stream_frees_its_slot_WK06(make_provider):
    """The model stops within a token, and the only slot is free again."""
    provider = await make_provider({"tiny": {"path": "embedded", "n_parallel": 1}})
    async with aclosing(provider.stream_generate(chat(stream=True, raw={"ignore_eos": True}))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    async with asyncio.timeout(60):  # the other one would go on for ever
        assert (await provider.generate(chat("hello"))).content


async def test_cancelling_a_call_stops_it_in_the_engine(make_provider):
    """Also one that is not streamed."""
    provider = await make_provider({"tiny": {"path": "embedded", "n_parallel": 1}})
    await provider.load_model("tiny")
    call = asyncio.create_task(provider.generate(chat(raw={"ignore_eos": True})))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(30):  # the call would go on for ever
        while (await provider.model_status("tiny")).state != "ready":
            await asyncio.sleep(0.005)


async def test_loading_does_not_count_against_the_first_token_F147(make_provider, monkeypatch):
    """A cold model is not mistaken for one that hangs."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.slow_llama_worker")
    provider = await make_provider()
    limits = PhaseLimits(first_token=2.5, deadline_at=time.monotonic() + 200)
    assert (await provider.generate(chat("hello", limits=limits))).content
    assert (await provider.model_status("tiny")).load_seconds > 2.5


async def test_tokens_are_counted_by_the_models_own_tokenizer(provider):
    """Exactly what the call then reports, template and tools included."""
    for request in (chat("hello there"), chat("hello there", tools=[WEATHER])):
        counted = await provider.count_tokens(request)
        assert counted == (await provider.generate(request)).usage.input_total
        assert request.warnings == []


async def test_a_local_model_is_free_and_knows_its_limits(provider):
    """Its facts come from the file."""
    facts = provider.facts("tiny")
    assert facts is provider.facts("tiny")
    assert facts.context_window == 1024
    assert {"chat", "stream", "tools", "json_schema", "embeddings"} <= facts.capabilities
    assert (facts.price.input, facts.price.output) == (Decimal(0), Decimal(0))
    assert await provider.resolve_default_model() == "tiny"


async def test_the_engine_opens_no_port_S46(provider):
    """Its listener is a socket in a directory that only the worker's user can enter."""
    await provider.load_model("tiny")
    process = psutil.Process((await provider.model_status("tiny")).pid)
    assert process.net_connections("inet") == []
    assert "engine.sock" in {one.laddr for one in process.net_connections("unix")}
