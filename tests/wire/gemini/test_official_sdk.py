"""Google's own SDK is the judge: the same request through it and through us means the same, and answers read alike."""

import base64
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import DocumentPart, ImagePart, Message, TextPart, ToolCall
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.base.response import ResponseCollector
from core.llm.providers.gemini.config import GeminiConfig
from core.llm.providers.gemini.provider import GeminiProvider
from core.llm.testing import GeminiServer, provider_services
from core.llm.testing.gemini_server import GeminiModelSpec
from core.llm.testing.gemini_shapes import GENERATE, checked
from tests.wire.gemini.recordings import Recording, recordings
from tests.wire.gemini.test_recorded_chat import PIECEWISE, WITHOUT_ANSWER
from tests.wire.recorded import params

with warnings.catch_warnings():
    # Its imports deprecate each other.
    warnings.simplefilter("ignore")
    genai: Any = pytest.importorskip(
        "google.genai", reason="compares with Google's SDK: install the group `differential`"
    )
    from google.genai import errors, types

KEY = "key-of-both"
MODEL = "gemini-3-flash-preview"
PNG = b"\x89PNG\r\n\x1a\n0000"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "The weather", "parameters": SCHEMA}
DECLARATION = {"name": "weather", "description": "The weather", "parametersJsonSchema": SCHEMA}

pytestmark = pytest.mark.filterwarnings("ignore")  # what the SDK and its libraries deprecate is not ours to mend

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # name -> what we are asked, what the SDK is asked
    "plain": ({"messages": "hi"}, {"contents": "hi"}),
    "system": (
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]},
        {"contents": "hi", "config": {"system_instruction": "Be brief."}},
    ),
    "sampling": (
        {"messages": "hi", "temperature": 0.5, "top_p": 0.9, "top_k": 3, "max_tokens": 9, "stop": ["x"], "seed": 1,
         "frequency_penalty": 0.1, "presence_penalty": 0.2},
        {"contents": "hi", "config": {"temperature": 0.5, "top_p": 0.9, "top_k": 3, "max_output_tokens": 9,
         "stop_sequences": ["x"], "seed": 1, "frequency_penalty": 0.1, "presence_penalty": 0.2}},
    ),
    "thinking level": (
        {"messages": "hi", "thinking": "low"},
        {"contents": "hi", "config": {"thinking_config": {"thinking_level": "LOW", "include_thoughts": True}}},
    ),
    "json": ({"messages": "hi", "response_format": "json"}, {"contents": "hi", "config": {"response_mime_type": "application/json"}}),
    "schema": (
        {"messages": "hi", "response_format": SCHEMA},
        {"contents": "hi", "config": {"response_mime_type": "application/json", "response_json_schema": SCHEMA}},
    ),
    "tools": (
        {"messages": "hi", "tools": [TOOL], "tool_choice": "weather"},
        {"contents": "hi", "config": {"tools": [{"function_declarations": [DECLARATION]}], "tool_config": {
            "function_calling_config": {"mode": "ANY", "allowed_function_names": ["weather"]}}}},
    ),
    "media": (
        {"messages": [Message("user", (TextPart("look"), ImagePart(data=PNG), DocumentPart(
            url="https://x.example/a.pdf", media_type="application/pdf")))]},
        {"contents": [{"role": "user", "parts": [{"text": "look"}, {"inline_data": {"mime_type": "image/png", "data": PNG}},
            {"file_data": {"mime_type": "application/pdf", "file_uri": "https://x.example/a.pdf"}}]}]},
    ),
    "tool results": (
        {"messages": [
            Message("user", "hi"),
            Message("assistant", "", tool_calls=(ToolCall("c1", "weather", {"city": "Bonn"}, signature="c2ln"),)),
            Message("tool", "sunny", tool_call_id="c1"),
        ], "tools": [TOOL]},
        {"contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"function_call": {"id": "c1", "name": "weather", "args": {"city": "Bonn"}},
                                         "thought_signature": b"sig"}]},
            {"role": "user", "parts": [{"function_response": {"id": "c1", "name": "weather", "response": {"output": "sunny"}}}]},
        ], "config": {"tools": [{"function_declarations": [DECLARATION]}]}},
    ),
}  # fmt: skip


@pytest.fixture
async def server() -> AsyncIterator[GeminiServer]:
    models = (GeminiModelSpec(MODEL, signatures=True), GeminiModelSpec("gemini-embedding-001", embeds=True))
    async with GeminiServer(*models, api_key=KEY, check_signatures=False) as server:
        yield server


def sdk(url: str) -> Any:
    """Google's client, pointed at a local server."""
    return genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url, api_version="v1beta"))


async def ours(url: str) -> GeminiProvider:
    """Our provider, pointed at it too."""
    provider = GeminiProvider(
        GeminiConfig.model_validate({"api_key": KEY, "base_url": url}), provider_services("gemini")
    )
    await provider.start()
    return provider


def chat(provider: GeminiProvider, *, stream: bool = False, **params: Any) -> ChatRequest:
    """A request without packaged facts but those of its model."""
    asked = LLMRequest(**params)
    facts = provider.facts(MODEL)
    return ChatRequest("gemini", MODEL, asked, asked.messages, facts, PhaseLimits(), KEY, stream)


def meaning(body: Any) -> Any:
    """A body without differences that mean nothing: the case of names, empty objects, kinds of base64."""
    known = checked(body, GENERATE)
    known.get("systemInstruction", {}).pop("role", None)
    if not known.get("generationConfig", True):
        del known["generationConfig"]
    return with_bytes(known)


def with_bytes(value: Any) -> Any:
    """*value* with its base64 decoded."""
    if isinstance(value, dict):
        out = {name: with_bytes(item) for name, item in value.items()}
        for name in ("data", "thoughtSignature"):
            if isinstance(out.get(name), str):
                out[name] = base64.b64decode(out[name].replace("-", "+").replace("_", "/"))
        return out
    return [with_bytes(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", list(CASES))
async def test_the_same_request_means_the_same(server: GeminiServer, name: str, stream: bool) -> None:
    """Path, query and body."""
    asked_of_us, asked_of_sdk = CASES[name]
    provider = await ours(server.url)
    client = sdk(server.url)
    try:
        if stream:
            async for _ in provider.stream_generate(chat(provider, stream=True, **asked_of_us)):
                pass
            async for _ in await client.aio.models.generate_content_stream(model=MODEL, **asked_of_sdk):
                pass
        else:
            await provider.generate(chat(provider, **asked_of_us))
            await client.aio.models.generate_content(model=MODEL, **asked_of_sdk)
    finally:
        await client.aio.aclose()
        await provider.close()
    mine, its = server.calls
    assert (mine.path, mine.query) == (its.path, its.query)
    assert meaning(mine.body) == meaning(its.body)


async def test_embeddings_mean_the_same(server: GeminiServer) -> None:
    """And the vectors that come back are the same."""
    provider = await ours(server.url)
    client = sdk(server.url)
    try:
        request = EmbeddingRequest(
            "gemini", "gemini-embedding-001", ("a", "bb"), PhaseLimits(), dimensions=4, api_key=KEY
        )
        mine = await provider.embed(request)
        its = await client.aio.models.embed_content(
            model="gemini-embedding-001", contents=["a", "bb"], config={"output_dimensionality": 4}
        )
    finally:
        await client.aio.aclose()
        await provider.close()
    assert [list(vector) for vector in mine] == [embedding.values for embedding in its.embeddings]
    first, second = server.calls
    assert first.path == second.path

    def plain(body: Any) -> Any:
        for one in body["requests"]:
            one["content"].pop("role", None)
        return body

    assert plain(first.body) == plain(second.body)


@pytest.mark.parametrize("recording", params(one for one in recordings("generate") if one.provider == "gemini"))
async def test_a_recorded_answer_reads_the_same(recording: Recording) -> None:
    """The same bytes, over HTTP, to both: text, calls, usage, finish, or the same refusal."""

    async def replay(request: web.Request) -> web.Response:
        await request.read()
        kind = recording.headers.get("content-type", "application/json")
        return web.Response(status=recording.status, body=recording.body, headers={"Content-Type": kind})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", replay)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    provider = await ours(url)
    client = sdk(url)
    try:
        assert await read_by_us(provider, recording) == await read_by_sdk(client, recording)
    finally:
        await client.aio.aclose()
        await provider.close()
        await runner.cleanup()


async def read_by_us(provider: GeminiProvider, recording: Recording) -> Any:
    """What our provider makes of the answer."""
    asked = LLMRequest(messages="hi")
    request = ChatRequest(
        "gemini", recording.model, asked, asked.messages, ModelFacts(), PhaseLimits(), KEY, recording.is_stream
    )
    try:
        if recording.is_stream:
            collector = ResponseCollector()
            async for event in provider.stream_generate(request):
                collector.add(event)
            response = collector.response()
        else:
            response = await provider.generate(request)
    except ProviderError as error:
        return ("refused", error.status_code) if recording.status >= 300 else ("withheld", error.code)
    calls = [(call.name, dict(call.arguments)) for call in response.tool_calls]
    usage = response.usage
    tokens = (usage.input_total, usage.output, usage.reasoning, usage.cache_read)
    return (
        response.content,
        response.thinking,
        "joined" if recording.id in PIECEWISE else calls,
        response.finish_reason.raw,
        tokens,
    )


async def read_by_sdk(client: Any, recording: Recording) -> Any:
    """What Google's SDK makes of it, added up where it came in chunks."""
    try:
        if recording.is_stream:
            stream = await client.aio.models.generate_content_stream(model=recording.model, contents="hi")
            chunks = [chunk async for chunk in stream]
        else:
            chunks = [await client.aio.models.generate_content(model=recording.model, contents="hi")]
    except errors.APIError as error:
        return ("refused", error.code)
    candidates = [chunk.candidates[0] for chunk in chunks if chunk.candidates]
    finish = next((one.finish_reason.name for one in reversed(candidates) if one.finish_reason), None)
    if recording.id in WITHOUT_ANSWER:
        blocked = chunks[0].prompt_feedback
        return ("withheld", blocked.block_reason.name if blocked else finish)
    parts = [part for one in candidates for part in (one.content.parts if one.content else None) or ()]
    usage = chunks[-1].usage_metadata
    return (
        "".join(part.text for part in parts if part.text and not part.thought),
        "".join(part.text for part in parts if part.text and part.thought),
        "joined"
        if recording.id in PIECEWISE
        else [(part.function_call.name, part.function_call.args or {}) for part in parts if part.function_call],
        finish,
        (
            (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
            usage.candidates_token_count or 0,
            usage.thoughts_token_count or 0,
            usage.cached_content_token_count or 0,
        ),
    )
