"""Requests through OpenAI's own SDK and through us mean the same, and the answers are read alike."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.llm.common.messages import ToolCall
from core.llm.common.types import Usage
from core.llm.providers.azure_openai.config import AzureOpenAIConfig
from core.llm.providers.azure_openai.provider import AzureOpenAIProvider
from core.llm.providers.base.response import LLMResponse
from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai.provider import OpenAIProvider
from core.llm.providers.openai_style import OpenAIStyleProvider
from core.llm.testing import provider_services
from core.llm.testing.openai_answers import OpenAIAnswer
from core.llm.testing.openai_server import OpenAIServer
from tests.differential.openai_sdk import KEY, ask, assert_alike

openai = pytest.importorskip("openai", reason="the SDK of the group `differential` is not installed")

PARAMETERS = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip
FLAT = {"type": "function", "name": "weather", "description": "Now", "parameters": PARAMETERS, "strict": True}
NESTED = {"type": "function", "function": {key: value for key, value in FLAT.items() if key != "type"}}
OURS = {key: value for key, value in FLAT.items() if key != "type"}
SCHEMA = {
    "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False,
    "title": "thing",
}  # fmt: skip
CALL = ToolCall("call_1", "weather", {"city": "Zürich"})
PICTURE = "data:image/png;base64,iVBORw0KGgo="
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Where?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "21 °C"},
]  # fmt: skip
ITEMS: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [{"type": "input_text", "text": "Where?"}, {"type": "input_image", "image_url": PICTURE}],
    },
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Bern"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "21 °C"},
]

CHAT: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "plain": ("gpt-4.1", {"messages": [{"role": "user", "content": "Grüezi 👋"}]}, {"messages": "Grüezi 👋"}),
    "sampling": (
        "gpt-4.1",
        {"messages": TALK[:2], "temperature": 0.2, "top_p": 0.5, "max_completion_tokens": 50, "stop": ["X"], "seed": 3,
         "frequency_penalty": 0.5, "presence_penalty": -0.5, "user": "u-1"},
        {"messages": TALK[:2], "temperature": 0.2, "top_p": 0.5, "max_tokens": 50, "stop": "X", "seed": 3,
         "frequency_penalty": 0.5, "presence_penalty": -0.5, "user": "u-1"},
    ),
    "tools": (
        "gpt-4.1",
        {"messages": TALK, "tools": [NESTED], "tool_choice": {"type": "function", "function": {"name": "weather"}},
         "parallel_tool_calls": False},
        {"messages": TALK, "tools": [OURS], "tool_choice": "weather", "parallel_tool_calls": False},
    ),
    "schema": (
        "gpt-4.1",
        {"messages": TALK[:1], "response_format": {"type": "json_schema", "json_schema": {
            "name": "thing", "schema": SCHEMA, "strict": True}}},
        {"messages": TALK[:1], "response_format": SCHEMA},
    ),
    "effort": (
        "gpt-6-luna",
        {"messages": [{**TALK[0], "role": "developer"}, TALK[1]], "reasoning_effort": "low",
         "max_completion_tokens": 99},
        {"messages": TALK[:2], "thinking": "low", "max_tokens": 99},
    ),
}  # fmt: skip
OWN = {"store": False, "include": ["reasoning.encrypted_content"]}
RESPONSES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "plain": ("gpt-5.5", {"input": [{"role": "user", "content": "Grüezi"}], **OWN}, {"messages": "Grüezi"}),
    "tools": (
        "gpt-6-luna",
        {"instructions": "Be brief.", "input": ITEMS, "tools": [FLAT, {"type": "function", "name": "free", "strict": False,
         "parameters": {"type": "object", "properties": {}}}],
         "tool_choice": {"type": "function", "name": "weather"}, "parallel_tool_calls": True,
         "reasoning": {"effort": "high", "summary": "auto"}, "max_output_tokens": 99, **OWN},
        {"messages": TALK, "tools": [OURS, {"name": "free"}], "tool_choice": "weather", "parallel_tool_calls": True,
         "thinking": "high", "max_tokens": 99, "extra": {"reasoning": {"summary": "auto"}}},
    ),
    "schema": (
        "gpt-4.1",
        {"instructions": "Be brief.", "input": ITEMS[:1], "temperature": 0.1, "top_p": 0.3, "store": False,
         "text": {"format": {"type": "json_schema", "name": "thing", "schema": SCHEMA, "strict": True}}},
        {"messages": TALK[:2], "temperature": 0.1, "top_p": 0.3, "response_format": SCHEMA},
    ),
}  # fmt: skip

ANSWERS = {
    "text": OpenAIAnswer("Grüezi und auf Wiedersehen 👋"),
    "calls": OpenAIAnswer("Moment", (CALL, ToolCall("call_2", "weather", {}))),
    "length": OpenAIAnswer("half of", finish="length", usage=Usage(input=90, cache_read=10, output=1, reasoning=9)),
    "refusal": OpenAIAnswer(refusal="No, sorry"),
}


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer(api_key=KEY) as running:
        yield running


@pytest.fixture(params=["openai", "azure v1", "azure legacy"])
async def both(request: pytest.FixtureRequest, server: OpenAIServer) -> AsyncIterator[tuple[Any, OpenAIStyleProvider]]:
    """The SDK's client and our provider for the same place."""
    made: OpenAIStyleProvider
    if request.param == "openai":
        sdk: Any = openai.AsyncOpenAI(api_key=KEY, base_url=server.url, max_retries=0)
        made = OpenAIProvider(
            OpenAIConfig.model_validate({"base_url": server.url, "api_key": KEY}), provider_services("p")
        )
    else:
        version = "2025-04-01-preview" if request.param == "azure legacy" else None
        if version:
            sdk = openai.AsyncAzureOpenAI(api_key=KEY, azure_endpoint=server.root, api_version=version, max_retries=0)
        else:
            sdk = openai.AsyncOpenAI(
                api_key=KEY, base_url=f"{server.root}/openai/v1", default_headers={"api-key": KEY}, max_retries=0
            )
        config = AzureOpenAIConfig.model_validate({"base_url": server.root, "api_key": KEY, "api_version": version})
        made = AzureOpenAIProvider(config, provider_services("p"))
    await made.start()
    yield sdk, made
    await made.close()
    await sdk.close()


def placed(both: tuple[Any, OpenAIStyleProvider], api: str) -> tuple[Any, OpenAIStyleProvider]:
    """With the endpoint fixed."""
    both[1].dialect.api = api  # type: ignore[attr-defined]  # the configured choice, changed in place
    return both


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", list(CHAT))
async def test_chat_requests_mean_the_same(both: Any, server: OpenAIServer, case: str, stream: bool) -> None:
    """Address, credential and body."""
    sdk, made = placed(both, "chat")
    model, theirs, ours = CHAT[case]
    usage = {"stream_options": {"include_usage": True}} if stream else {}
    sent = await sdk.chat.completions.create(model=model, stream=stream, **usage, **theirs)
    if stream:
        async for _ in sent:
            pass
    await ask(made, model, stream=stream, **ours)
    assert_alike(server)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", list(RESPONSES))
async def test_responses_requests_mean_the_same(both: Any, server: OpenAIServer, case: str, stream: bool) -> None:
    """Address, credential and body."""
    sdk, made = placed(both, "responses")
    model, theirs, ours = RESPONSES[case]
    sent = await sdk.responses.create(model=model, stream=stream, **theirs)
    if stream:
        async for _ in sent:
            pass
    await ask(made, model, stream=stream, **ours)
    assert_alike(server)


async def test_embedding_requests_mean_the_same(both: Any, server: OpenAIServer) -> None:
    """And so do the vectors."""
    from core.llm.common.types import PhaseLimits
    from core.llm.providers.base.request import EmbeddingRequest

    sdk, made = both
    theirs = await sdk.embeddings.create(
        model="text-embedding-3-small", input=["a", "bbb"], dimensions=3, encoding_format="float"
    )
    wanted = EmbeddingRequest(
        "p", "text-embedding-3-small", ("a", "bbb"), PhaseLimits(), 3, KEY, extra={"encoding_format": "float"}
    )
    ours = await made.embed(wanted)
    assert_alike(server)
    assert [list(vector) for vector in ours.vectors] == [one.embedding for one in theirs.data]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", list(ANSWERS))
async def test_chat_answers_are_read_alike(both: Any, server: OpenAIServer, case: str, stream: bool) -> None:
    """Text, calls, refusal, finish and tokens; streamed, the SDK's own accumulator does it for its side."""
    sdk, made = placed(both, "chat")
    server.script(ANSWERS[case], ANSWERS[case])
    asked: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "u"}]}
    if stream:
        async with sdk.chat.completions.stream(**asked, stream_options={"include_usage": True}) as running:
            try:
                theirs = await running.get_final_completion()
            except openai.LengthFinishReasonError as error:
                theirs = error.completion
    else:
        theirs = await sdk.chat.completions.create(**asked)
    ours = await ask(made, "gpt-4.1", "u", stream=stream)
    choice = theirs.choices[0]
    assert ours.content == (choice.message.content or "")
    assert ours.refusal == choice.message.refusal
    assert ours.finish_reason.raw == choice.finish_reason
    assert _calls(ours) == [
        (call.id, call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or ()
    ]
    _same_usage(ours.usage, theirs.usage.prompt_tokens, theirs.usage.completion_tokens, theirs.usage.total_tokens)
    assert ours.usage.cache_read == theirs.usage.prompt_tokens_details.cached_tokens
    assert ours.usage.reasoning == theirs.usage.completion_tokens_details.reasoning_tokens


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", list(ANSWERS))
async def test_responses_answers_are_read_alike(both: Any, server: OpenAIServer, case: str, stream: bool) -> None:
    """Text, calls, refusal, finish and tokens."""
    sdk, made = placed(both, "responses")
    server.script(ANSWERS[case], ANSWERS[case])
    if stream:
        async with sdk.responses.stream(model="gpt-4.1", input="u") as running:
            theirs = [event async for event in running][-1].response
    else:
        theirs = await sdk.responses.create(model="gpt-4.1", input="u")
    ours = await ask(made, "gpt-4.1", "u", stream=stream)
    refusals = [
        part.refusal
        for item in theirs.output
        if item.type == "message"
        for part in item.content
        if part.type == "refusal"
    ]
    assert ours.content == theirs.output_text
    assert ours.refusal == ("".join(refusals) or None)
    reason = theirs.incomplete_details.reason if theirs.incomplete_details else theirs.status
    assert ours.finish_reason.raw == reason
    assert _calls(ours) == [
        (item.call_id, item.name, json.loads(item.arguments)) for item in theirs.output if item.type == "function_call"
    ]
    _same_usage(ours.usage, theirs.usage.input_tokens, theirs.usage.output_tokens, theirs.usage.total_tokens)
    assert ours.usage.cache_read == theirs.usage.input_tokens_details.cached_tokens
    assert ours.usage.reasoning == theirs.usage.output_tokens_details.reasoning_tokens


def _calls(answer: LLMResponse) -> list[Any]:
    return [(call.id, call.name, dict(call.arguments)) for call in answer.tool_calls]


def _same_usage(usage: Usage, prompt: int, completion: int, total: int) -> None:
    assert (usage.input_total, usage.output_total, usage.total) == (prompt, completion, total)
