"""The provider against a strict server, over a real connection."""

from collections.abc import Mapping
from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ImagePart, Message, ToolCall
from core.llm.common.types import PhaseLimits
from core.llm.providers.anthropic.config import AnthropicConfig
from core.llm.providers.anthropic.provider import AnthropicProvider
from core.llm.providers.base.provider import ModelLister, TokenCounter
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector, ToolCallReady
from core.llm.testing import provider_services
from core.llm.testing.anthropic_script import AnthropicAnswer
from core.llm.testing.anthropic_server import AnthropicServer
from tests.wire.anthropic.conftest import KEY

WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


def ask(
    provider: AnthropicProvider,
    messages: Any = "Hello",
    *,
    model: str = "claude-opus-5-5",
    stream: bool = False,
    key: str | None = KEY,
    extra: Mapping[str, Any] | None = None,
    **params: Any,
) -> ChatRequest:
    asked = LLMRequest(messages=messages, **params)
    return ChatRequest(
        provider.name, model, asked, asked.messages, provider.facts(model), PhaseLimits(), key, stream, extra or {}
    )


async def streamed(provider: AnthropicProvider, request: ChatRequest) -> LLMResponse:
    collector = ResponseCollector()
    async for event in provider.stream_generate(request):
        collector.add(event)
    return collector.response()


async def test_headers_carry_key_version_and_betas(provider: AnthropicProvider, server: AnthropicServer) -> None:
    """The address may end with the version, as people write it."""
    response = await provider.generate(ask(provider, extra={"betas": ["beta-2"]}))
    assert (response.content, response.request_id) == ("Hello", "req_served")
    call = server.calls[0]
    assert call.path == "/v1/messages"
    assert call.headers["x-api-key"] == KEY
    assert call.headers["anthropic-version"] == "2023-06-01"
    assert call.headers["anthropic-beta"] == "beta-1,beta-2"
    assert "authorization" not in call.headers


async def test_a_key_may_travel_as_a_bearer_token(server: AnthropicServer) -> None:
    """For gateways in front of the API."""
    config = AnthropicConfig(type="anthropic", base_url=server.url, api_key=KEY, auth="bearer")
    provider = AnthropicProvider(config, provider_services("anthropic"))
    await provider.start()
    try:
        await provider.generate(ask(provider))
    finally:
        await provider.close()
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in server.calls[0].headers


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_with_thinking_and_tools_goes_on(
    provider: AnthropicProvider, server: AnthropicServer, stream: bool
) -> None:
    """The server accepts only thinking that it signed, unchanged, before the calls, with their results in order."""
    calls = (ToolCall("toolu_a", "weather", {"city": "Oslo"}), ToolCall("toolu_b", "weather", {}))
    server.script(
        AnthropicAnswer("Let me look.", thinking="Two cities. ", redacted="Eo8B", tool_calls=calls),
        AnthropicAnswer("Rain.", thinking="Both wet."),
    )
    history = [Message("user", "Weather?")]
    take = streamed if stream else AnthropicProvider.generate
    for model in ("claude-opus-5-5", "claude-opus-5-5", "claude-opus-4-6"):
        response = await take(
            provider, ask(provider, history, model=model, tools=[WEATHER], thinking="medium", stream=stream)
        )
        history.append(response.message)
        history += [Message("tool", "wet", tool_call_id=call.id) for call in response.tool_calls]
        if not response.tool_calls:
            history.append(Message("user", "And tomorrow?"))
    sent = server.calls[1].body["messages"]
    assert [block["type"] for block in sent[1]["content"]] == [
        "thinking", "redacted_thinking", "text", "tool_use", "tool_use",
    ]  # fmt: skip
    assert sent[1]["content"][0]["thinking"] == "Two cities. "
    assert [block["tool_use_id"] for block in sent[2]["content"]] == ["toolu_a", "toolu_b"]


async def test_a_conversation_from_elsewhere_goes_on(provider: AnthropicProvider, server: AnthropicServer) -> None:
    """Foreign ids, thinking, pictures and consecutive messages, on every model of the table."""
    from core.llm.common.messages import TextPart, ThinkingPart
    from core.llm.data.facts import table

    history = [
        Message("system", "Be brief."),
        Message("user", "What is this?"),
        Message("user", (TextPart("Look:"), ImagePart(data=b"\x89PNG\r\n\x1a\n1"))),
        Message("assistant", (ThinkingPart("Hm", "sig", None, "gemini"),), tool_calls=(ToolCall("call|1:x", "zoom"),)),
        Message("system", "Answer in French."),
        Message("tool", "", tool_call_id="call|1:x"),
        Message("assistant", ""),
        Message("user", "Well?"),
    ]
    for model in table("anthropic")["models"]:
        for thinking in (None, "off", "high", 5000):
            request = ask(provider, history, model=model, thinking=thinking, tools=[{"name": "zoom"}], stream=True)
            assert (await streamed(provider, request)).content


async def test_streamed_tool_arguments_are_whole(provider: AnthropicProvider, server: AnthropicServer) -> None:
    """In pieces, some of them empty."""
    server.script(
        AnthropicAnswer("", tool_calls=(ToolCall("t1", "weather", {"city": "Zürich"}), ToolCall("t2", "now")))
    )
    request = ask(provider, tools=[WEATHER], stream=True)
    ready = [event.call async for event in provider.stream_generate(request) if isinstance(event, ToolCallReady)]
    assert [(call.id, dict(call.arguments)) for call in ready] == [("t1", {"city": "Zürich"}), ("t2", {})]


async def test_an_overload_in_the_middle_is_an_error_after_what_came(
    provider: AnthropicProvider, server: AnthropicServer
) -> None:
    """The status was 200."""
    server.script(AnthropicAnswer("one two three", error_after=2), AnthropicAnswer("one two", cut_after=1))
    text = ""
    with pytest.raises(ProviderError) as caught:
        async for event in provider.stream_generate(ask(provider, stream=True)):
            text += event.text
    assert (text, caught.value.type, caught.value.billing) == ("one two ", "overloaded", "estimated")
    assert (caught.value.provider, caught.value.model) == ("anthropic", "claude-opus-5-5")
    with pytest.raises(ProviderError) as caught:
        await streamed(provider, ask(provider, stream=True))
    assert (caught.value.type, caught.value.code) == ("protocol", "truncated")


async def test_a_refused_request_says_why(provider: AnthropicProvider, server: AnthropicServer) -> None:
    """In the vendor's words, with its request id; and 529 is an overload with its hint."""
    with pytest.raises(ProviderError) as caught:
        await provider.generate(ask(provider, extra={"no_such_field": 1}))
    assert caught.value.type == "invalid_request"
    assert "no_such_field: Extra inputs are not permitted" in caught.value.message
    assert caught.value.request_id == "req_served"
    server.fail(529, "overloaded_error", "Overloaded", headers={"retry-after": "3"})
    with pytest.raises(ProviderError) as caught:
        await provider.generate(ask(provider))
    assert (caught.value.type, caught.value.retryable, caught.value.retry_after) == ("overloaded", True, 3)


async def test_tokens_are_counted_without_generating(provider: AnthropicProvider, server: AnthropicServer) -> None:
    """The endpoint refuses limits, sampling and streams: none of them is sent; the configured key is used."""
    assert isinstance(provider, TokenCounter)
    request = ask(
        provider, "one two", model="claude-haiku-4-5", key=None, max_tokens=5, temperature=0.2, tools=[WEATHER], stop="x",
        extra={"prompt_cache": "auto"},
    )  # fmt: skip
    assert await provider.count_tokens(request) > 0
    call = server.calls[-1]
    assert call.path == "/v1/messages/count_tokens"
    assert call.body.keys() == {"model", "messages", "tools", "cache_control"}
    server.fail(429, "rate_limit_error")
    with pytest.raises(ProviderError) as caught:
        await provider.count_tokens(request)
    assert (caught.value.type, caught.value.provider) == ("rate_limit", "anthropic")


async def test_all_pages_of_the_model_list_are_read(provider: AnthropicProvider, server: AnthropicServer) -> None:
    """Sizes that the table does not know are learnt; those it knows stay."""
    assert isinstance(provider, ModelLister)
    server.models = ["claude-opus-5-5", "claude-9", "claude/10"]
    server.page_size = 1
    models = await provider.list_models()
    assert [model.name for model in models] == server.models
    assert len(server.calls) == 3
    assert models[1].facts.context_window == 200000
    assert provider.facts("claude-9").max_output_tokens == 64000
    assert provider.facts("claude-opus-5-5").max_output_tokens == 128000


async def test_the_health_check_costs_no_tokens(provider: AnthropicProvider, server: AnthropicServer) -> None:
    """One entry of the model list; an error is a report, not an exception."""
    assert (await provider.health_check()).healthy
    assert [(call.method, call.path) for call in server.calls] == [("GET", "/v1/models")]
    server.fail(401, "authentication_error", f"invalid x-api-key: {KEY}")
    report = await provider.health_check()
    assert not report.healthy
    assert KEY not in report.detail
    server.fail(404, "not_found_error")
    assert (await provider.health_check()).healthy
    await server.stop()
    assert not (await provider.health_check()).healthy
