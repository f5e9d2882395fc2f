"""Requests and streams for the tests of the dialects."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector, StreamEvent


def chat(
    messages: Any = "hello",
    *,
    stream: bool = False,
    facts: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    **params: Any,
) -> ChatRequest:
    """A request as a provider is handed it; *facts* are the quirks of the model."""
    asked = LLMRequest(messages=messages, **params)
    return ChatRequest(
        "acme",
        "big",
        asked,
        asked.messages,
        ModelFacts(quirks=facts or {}),
        PhaseLimits(),
        stream=stream,
        extra=extra or {},
    )


def body_of(request: ChatRequest, **quirks: Any) -> dict[str, Any]:
    """What would be sent."""
    call = OpenAIChatDialect(OpenAIQuirks(**quirks)).encode(request)
    assert isinstance(call.body, bytes)
    decoded: dict[str, Any] = from_json(call.body)
    return decoded


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a stream with one choice."""
    return {
        "id": "c1",
        "model": "big-1",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}],
        **more,
    }


def sse(*chunks: Any, done: bool = True) -> bytes:
    """*chunks* as an event stream; bytes are taken as they are."""
    parts = [one if isinstance(one, bytes) else b"data: " + to_json(one) + b"\n\n" for one in chunks]
    return b"".join(parts) + (b"data: [DONE]\n\n" if done else b"")


def events(
    body: bytes, request: ChatRequest | None = None, headers: Mapping[str, str] | None = None, **quirks: Any
) -> list[StreamEvent]:
    """The events of a whole stream; raises what the decoder raises."""
    decoder = OpenAIChatDialect(OpenAIQuirks(**quirks)).decoder(request or chat(stream=True), headers or {})
    return decoder.feed(body) + decoder.end()


def collected(body: bytes, **more: Any) -> LLMResponse:
    """The answer that a whole stream amounts to."""
    collector = ResponseCollector()
    for event in events(body, **more):
        collector.add(event)
    return collector.response()


def decoded(body: bytes | Mapping[str, Any], request: ChatRequest | None = None, **quirks: Any) -> LLMResponse:
    """A whole answer, decoded."""
    data = body if isinstance(body, bytes) else to_json(body)
    return OpenAIChatDialect(OpenAIQuirks(**quirks)).decode(request or chat(), 200, {}, data)


def answer(message: Mapping[str, Any] | None = None, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    """A whole answer with one choice."""
    message = {"role": "assistant", "content": "Hi"} if message is None else message
    return {
        "id": "c1",
        "model": "big-1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        **more,
    }
