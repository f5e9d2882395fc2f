"""The vendor's own SDK and this library: the same bodies out, the same meaning in."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

from core.llm.common.messages import ImagePart, Message, TextPart, ToolCall
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.providers.anthropic.provider import AnthropicProvider
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.testing.anthropic_server import AnthropicServer
from tests.wire.anthropic.conftest import KEY
from tests.wire.anthropic.recordings import Recording, recordings
from tests.wire.recorded import params

sdk = pytest.importorskip("anthropic", reason="the vendor's SDK is not installed: install the group 'differential'")

# The SDK warns of models it believes to be retired; that is its own business.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MODEL = "claude-haiku-4-5"
PNG = b"\x89PNG\r\n\x1a\n1"
TOOL = {"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}  # fmt: skip
SDK_TOOL = {"name": "weather", "description": "Now.", "input_schema": TOOL["parameters"]}


class Answer(BaseModel):
    """One number."""

    number: int
    note: str | None = None


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"messages": "Hi"}, {"messages": [{"role": "user", "content": "Hi"}]}),
    "system": (
        {"messages": [Message("system", "Be brief."), Message("user", "Hi")], "temperature": 0.25, "stop": ["END"]},
        {"messages": [{"role": "user", "content": "Hi"}], "system": "Be brief.", "stop_sequences": ["END"],
         "extra_body": {"temperature": 0.25}},
    ),
    "thinking": (
        {"messages": "Hi", "thinking": 2048, "user": "u1"},
        {"messages": [{"role": "user", "content": "Hi"}], "metadata": {"user_id": "u1"},
         "thinking": {"type": "enabled", "budget_tokens": 2048}},
    ),
    "tools": (
        {"messages": "Weather?", "tools": [TOOL], "tool_choice": "weather", "parallel_tool_calls": False},
        {"messages": [{"role": "user", "content": "Weather?"}], "tools": [SDK_TOOL],
         "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}},
    ),
    "tool results": (
        {"messages": [Message("user", "Weather?"), Message("assistant", tool_calls=(ToolCall("t1", "weather", {"city": "Oslo"}),)),
                      Message("tool", "wet", tool_call_id="t1"), Message("user", "And?")], "tools": [TOOL]},
        {"messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "wet"},
                                         {"type": "text", "text": "And?"}]}], "tools": [SDK_TOOL]},
    ),
    "picture": (
        {"messages": [Message("user", (TextPart("What?"), ImagePart(data=PNG)))]},
        {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "What?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ImagePart(data=PNG).base64()}}]}]},
    ),
}  # fmt: skip


def ours(provider: AnthropicProvider, asked: dict[str, Any]) -> ChatRequest:
    made = LLMRequest(max_tokens=4096, **asked)
    return ChatRequest(
        provider.name, MODEL, made, made.messages, ModelFacts(quirks={"thinking": "both"}), PhaseLimits(), KEY
    )


@pytest.fixture
async def client(server: AnthropicServer) -> AsyncIterator[Any]:
    async with sdk.AsyncAnthropic(api_key=KEY, base_url=server.url, max_retries=0) as made:
        yield made


@pytest.mark.parametrize("name", list(CASES))
async def test_the_same_request_has_the_same_body(
    name: str, server: AnthropicServer, provider: AnthropicProvider, client: Any
) -> None:
    """Field for field."""
    asked, told = CASES[name]
    await provider.generate(ours(provider, asked))
    await client.messages.create(model=MODEL, max_tokens=4096, **told)
    assert server.calls[0].body == server.calls[1].body


async def test_structured_output_has_the_same_schema(
    server: AnthropicServer, provider: AnthropicProvider, client: Any
) -> None:
    """As the SDK makes it from the same pydantic model."""
    from anthropic import transform_schema

    await provider.generate(ours(provider, {"messages": "Hi", "response_format": Answer}))
    sent = server.calls[0].body["output_config"]["format"]
    wanted = transform_schema(Answer)
    for schema in (sent["schema"], wanted):
        # The SDK writes a default into the description, where we leave it out.
        for one in schema["properties"].values():
            one.pop("description", None)
    assert sent == {"type": "json_schema", "schema": wanted}


async def test_tokens_are_counted_over_the_same_body(
    server: AnthropicServer, provider: AnthropicProvider, client: Any
) -> None:
    """So the counts agree."""
    asked, told = CASES["tools"]
    count = await provider.count_tokens(ours(provider, asked))
    counted = await client.messages.count_tokens(model=MODEL, **told)
    assert server.calls[0].body == server.calls[1].body
    assert count == counted.input_tokens


@pytest.fixture
async def replay() -> AsyncIterator[Callable[[Recording], str]]:
    playing: list[Recording] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        one = playing[-1]
        kept = {"content-type": one.headers.get("content-type", "application/json")}
        return web.Response(status=one.status, body=one.body, headers=kept)

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    def play(recording: Recording) -> str:
        playing.append(recording)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield play
    await runner.cleanup()


ANSWERS = [one for one in recordings("messages") if one.status == 200]


@pytest.mark.parametrize("recording", params(ANSWERS))
async def test_the_same_answer_means_the_same(recording: Recording, replay: Callable[[Recording], str]) -> None:
    """Text, tool calls, usage and the reason for stopping, whole and streamed."""
    told: dict[str, Any] = {"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": "x"}]}
    async with sdk.AsyncAnthropic(api_key=KEY, base_url=replay(recording), max_retries=0) as client:
        if recording.is_stream:
            async with client.beta.messages.stream(**told) as stream:
                theirs = await stream.get_final_message()
        else:
            theirs = await client.beta.messages.create(**told)
    response = recording.response()
    assert response.content == "".join(block.text for block in theirs.content if block.type == "text")
    assert [(call.id, call.name, json.dumps(call.arguments)) for call in response.tool_calls] == [
        (block.id, block.name, json.dumps(block.input)) for block in theirs.content if block.type == "tool_use"
    ]
    assert response.finish_reason.raw == theirs.stop_reason
    compacted = [one for one in getattr(theirs.usage, "iterations", None) or () if one.type == "compaction"]
    assert response.usage.output_total == theirs.usage.output_tokens + sum(one.output_tokens for one in compacted)
    assert response.usage.input == theirs.usage.input_tokens + sum(one.input_tokens for one in compacted)
