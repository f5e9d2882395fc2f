"""The Gemini provider against a server that refuses what Google refuses."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ImagePart, Message, TextPart, ThinkingPart, ToolCall, ToolResultPart
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector
from core.llm.providers.gemini.config import GeminiConfig
from core.llm.providers.gemini.provider import GeminiProvider
from core.llm.testing import GeminiServer, provider_services
from core.llm.testing.gemini_server import GeminiAnswer, GeminiFailure, GeminiModelSpec

KEY = "canary-4711-not-even-shaped-like-a-key"
MODELS = (
    GeminiModelSpec("gemini-3-flash-preview", signatures=True),
    GeminiModelSpec("gemini-2.5-flash", tools_with_schema=False),
    GeminiModelSpec("gemini-2.0-flash", tools_with_schema=False),
    GeminiModelSpec("gemini-embedding-001", embeds=True),
)
PNG = b"\x89PNG\r\n\x1a\n0000"
WEATHER = {
    "name": "weather",
    "description": "The weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
async def server() -> AsyncIterator[GeminiServer]:
    async with GeminiServer(*MODELS, api_key=KEY) as server:
        yield server


@pytest.fixture
async def provider(server: GeminiServer) -> AsyncIterator[GeminiProvider]:
    config = GeminiConfig.model_validate({"api_key": KEY, "base_url": server.url, "embedding_batch_size": 2})
    provider = GeminiProvider(config, provider_services("gemini"))
    await provider.start()
    yield provider
    await provider.close()


def chat(
    provider: GeminiProvider,
    messages: Any = "hi",
    model: str = "gemini-3-flash-preview",
    *,
    stream: bool = False,
    key: str = KEY,
    extra: dict[str, Any] | None = None,
    **params: Any,
) -> ChatRequest:
    """A request with the packaged facts of its model."""
    asked = LLMRequest(messages=messages, **params)
    return ChatRequest(
        provider.name, model, asked, asked.messages, provider.facts(model), PhaseLimits(), key, stream, extra or {}
    )


async def ask(provider: GeminiProvider, request: ChatRequest) -> LLMResponse:
    """One answer, whole or collected from a stream."""
    if not request.stream:
        return await provider.generate(request)
    collector = ResponseCollector()
    async for event in provider.stream_generate(request):
        collector.add(event)
    return collector.response()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_an_answer_comes_whole_and_in_a_stream(server: GeminiServer, version: str, stream: bool) -> None:
    """On both versions of the API."""
    config = GeminiConfig.model_validate({"api_key": KEY, "base_url": f"{server.url}/{version}"})
    provider = GeminiProvider(config, provider_services("gemini"))
    await provider.start()
    server.will_answer(GeminiAnswer("Hello big world"))
    response = await ask(provider, chat(provider, stream=stream))
    await provider.close()
    assert (response.content, str(response.finish_reason), response.usage.total) == ("Hello big world", "stop", 10)
    assert server.calls[0].path.startswith(f"/{version}/models/gemini-3-flash-preview:")


async def test_s7_the_key_travels_in_a_header_only(provider: GeminiProvider, server: GeminiServer) -> None:
    """S7: no address holds it, whatever is asked."""
    await provider.generate(chat(provider))
    await ask(provider, chat(provider, stream=True))
    await provider.list_models()
    await provider.count_tokens(chat(provider))
    assert len(server.calls) == 4
    for call in server.calls:
        assert KEY not in f"{call.path} {call.query}"
        assert call.headers["x-goog-api-key"] == KEY


async def test_nothing_is_sent_that_was_not_asked_for(provider: GeminiProvider, server: GeminiServer) -> None:
    """The body holds the conversation and nothing else."""
    await provider.generate(chat(provider))
    assert server.calls[0].body == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


@pytest.mark.parametrize("model", [spec.name for spec in MODELS[:3]])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_with_everything_is_accepted(
    provider: GeminiProvider, server: GeminiServer, model: str, stream: bool
) -> None:
    """By every generation of models: what one does not take is reported, not sent."""
    request = chat(
        provider,
        [
            {"role": "system", "content": "Be brief."},
            Message("user", (TextPart("look"), ImagePart(data=PNG))),
            Message("assistant", "", tool_calls=(ToolCall("call_1", "weather", {"city": "Bonn"}),)),
            Message("tool", "sunny", tool_call_id="call_1"),
        ],
        model,
        stream=stream,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        max_tokens=50,
        stop=["a", "b", "c", "d", "e", "f"],
        seed=1,
        user="u",
        thinking="low",
        tools=[WEATHER],
        tool_choice="auto",
        response_format={"type": "object", "properties": {"answer": {"type": ["string", "null"]}}},
    )
    server.will_answer(GeminiAnswer('{"answer": "sun"}'))
    assert (await ask(provider, request)).content == '{"answer": "sun"}'
    assert {"stop", "user"} <= {warning.parameter for warning in request.warnings}


@pytest.mark.parametrize("stream", [False, True])
async def test_signatures_return_byte_for_byte_in_their_parts(
    provider: GeminiProvider, server: GeminiServer, stream: bool
) -> None:
    """A server that knows what it has signed accepts its own answers back."""
    parts = [
        {"text": "hm", "thought": True},
        {"text": "Let me look.", "thoughtSignature": "c2lnbmVkLXRleHQ+/w=="},
        {"functionCall": {"name": "weather", "args": {"city": "Bonn"}}, "thoughtSignature": "c2lnbmVkLWNhbGw="},
        {"functionCall": {"name": "weather", "args": {"city": "Jena"}}},
    ]
    server.will_answer(GeminiAnswer(parts=parts), GeminiAnswer("done"))
    first = await ask(provider, chat(provider, stream=stream, tools=[WEATHER]))
    assert str(first.finish_reason) == "tool_calls"
    calls = first.tool_calls
    results = [Message("tool", f"sunny {n}", tool_call_id=call.id) for n, call in enumerate(calls)]
    history = [Message("user", "hi"), first.message, *reversed(results)]
    second = await ask(provider, chat(provider, history, stream=stream, tools=[WEATHER]))
    assert second.content == "done"
    sent = server.calls[1].body["contents"]
    assert sent[1] == {"role": "model", "parts": parts}
    assert [part["functionResponse"]["response"] for part in sent[2]["parts"]] == [
        {"output": "sunny 0"},
        {"output": "sunny 1"},
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_signature_alone_returns_in_an_empty_text(
    provider: GeminiProvider, server: GeminiServer, stream: bool
) -> None:
    """Behind thoughts it is not taken for theirs."""
    parts = [{"text": "hm", "thought": True}, {"text": "", "thoughtSignature": "YWxvbmU="}]
    server.will_answer(GeminiAnswer(parts=parts), GeminiAnswer("done"))
    first = await ask(provider, chat(provider, stream=stream))
    await ask(provider, chat(provider, [Message("user", "hi"), first.message, Message("user", "go on")]))
    assert server.calls[1].body["contents"][1]["parts"] == parts


async def test_foreign_thinking_and_signatures_stay_at_home(provider: GeminiProvider, server: GeminiServer) -> None:
    """Also those of Vertex AI, which signs in another way; Google's own stand-in takes their place."""
    history = [
        Message("user", "hi"),
        Message(
            "assistant",
            (ThinkingPart("secret thought", "Zm9yZWlnbg==", provider="anthropic"),),
            tool_calls=(ToolCall("toolu_1", "weather", {"city": "Bonn"}, signature="dmVydGV4", provider="vertex"),),
        ),
        Message("user", (ToolResultPart("toolu_1", '{"sky": "blue"}'), TextPart("and?"))),
    ]
    await provider.generate(chat(provider, history, tools=[WEATHER]))
    contents = server.calls[0].body["contents"]
    assert contents[1]["parts"] == [
        {
            "functionCall": {"name": "weather", "args": {"city": "Bonn"}, "id": "toolu_1"},
            "thoughtSignature": "skip_thought_signature_validator",
        }
    ]
    response = {"name": "weather", "response": {"sky": "blue"}, "id": "toolu_1"}
    assert contents[2:] == [
        {"role": "user", "parts": [{"functionResponse": response}]},
        {"role": "user", "parts": [{"text": "and?"}]},
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_f52_a_blocked_prompt_is_an_error(provider: GeminiProvider, server: GeminiServer, stream: bool) -> None:
    """F52: typed, and never tried again."""
    server.will_answer(GeminiAnswer(block_reason="SAFETY", usage={"promptTokenCount": 4, "totalTokenCount": 4}))
    with pytest.raises(ProviderError) as caught:
        await ask(provider, chat(provider, stream=stream))
    error = caught.value
    assert (error.type, error.code, error.retryable, error.provider) == ("content_filter", "SAFETY", False, "gemini")


async def test_a_wrong_key_is_an_authentication_error(provider: GeminiProvider) -> None:
    """Although its status is 400."""
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat(provider, key="wrong"))
    assert (caught.value.type, caught.value.code, caught.value.scope) == ("authentication", "API_KEY_INVALID", "key")


@pytest.mark.parametrize(
    ("quota", "wanted"),
    [
        ("GenerateRequestsPerMinutePerProject", ("rate_limit", 45.837906927)),
        ("GenerateRequestsPerDay", ("quota_exceeded", None)),
    ],
)
async def test_a_daily_quota_is_not_worth_waiting_for(
    provider: GeminiProvider, server: GeminiServer, quota: str, wanted: tuple[str, float | None]
) -> None:
    """Although it comes with a delay; any other limit is."""
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "45.837906927s"},
    ]
    server.will_fail(GeminiFailure(429, "You exceeded your current quota.", "RESOURCE_EXHAUSTED", details))
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat(provider))
    assert (caught.value.type, caught.value.retry_after) == wanted


def texts(*inputs: str, model: str = "gemini-embedding-001", **more: Any) -> EmbeddingRequest:
    """A request for vectors."""
    return EmbeddingRequest("gemini", model, inputs, PhaseLimits(), api_key=KEY, **more)


async def test_embeddings_travel_in_batches(provider: GeminiProvider, server: GeminiServer) -> None:
    """In order, and their tokens add up."""
    found = await provider.embed(texts("a", "bb", "ccc", dimensions=4, extra={"taskType": "RETRIEVAL_QUERY"}))
    assert [len(vector) for vector in found] == [4, 4, 4]
    assert len({vector[0] for vector in found}) == 3
    assert (found.usage.input, len(server.calls)) == (9, 2)
    assert server.calls[1].body == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": "ccc"}]},
                "taskType": "RETRIEVAL_QUERY",
                "outputDimensionality": 4,
            }
        ]
    }


async def test_counting_includes_tools_and_system(provider: GeminiProvider, server: GeminiServer) -> None:
    """The whole request is counted, not the messages alone."""
    request = chat(provider, [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], tools=[WEATHER])
    assert await provider.count_tokens(request) > 0
    inner = server.calls[0].body["generateContentRequest"]
    assert inner.keys() == {"model", "contents", "systemInstruction", "tools"}


async def test_models_are_listed_with_their_limits(provider: GeminiProvider) -> None:
    """And the health check asks for the same list."""
    models = {model.name: model for model in await provider.list_models()}
    assert models["gemini-2.5-flash"].facts.context_window == 1_048_576
    assert (await provider.health_check()).models == tuple(spec.name for spec in MODELS)


async def test_raw_fields_are_merged(provider: GeminiProvider, server: GeminiServer) -> None:
    """Into the objects that are there, and never over the conversation."""
    extra = {"generationConfig": {"topK": None, "responseLogprobs": True}, "contents": [], "cachedContent": "c/1"}
    request = chat(provider, temperature=0.1, top_k=4, extra=extra)
    await provider.generate(request)
    body = server.calls[0].body
    assert body["generationConfig"] == {"temperature": 0.1, "responseLogprobs": True}
    assert body["cachedContent"] == "c/1"
    assert [warning.parameter for warning in request.warnings] == ["contents"]
