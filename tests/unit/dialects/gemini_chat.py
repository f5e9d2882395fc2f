"""Requests and streams for the tests of the Gemini dialect."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.dialects.gemini import GeminiDialect
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
    known = ModelFacts(quirks=facts or {})
    return ChatRequest("google", "big", asked, asked.messages, known, PhaseLimits(), stream=stream, extra=extra or {})


def body_of(request: ChatRequest, **safety: str) -> dict[str, Any]:
    """What would be sent."""
    call = GeminiDialect(safety=safety).encode(request)
    assert isinstance(call.body, bytes)
    decoded: dict[str, Any] = from_json(call.body)
    return decoded


def warned(request: ChatRequest) -> list[tuple[str, str | None]]:
    """Codes and parameters of the warnings."""
    return [(warning.code, warning.parameter) for warning in request.warnings]


def chunk(*parts: Mapping[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk with one candidate."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "big-1", "responseId": "r1", **more}


def sse(*chunks: Any) -> bytes:
    """*chunks* as an event stream; bytes are taken as they are."""
    return b"".join(
        one if isinstance(one, bytes) else b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in chunks
    )


def events(body: bytes, request: ChatRequest | None = None, **headers: str) -> list[StreamEvent]:
    """The events of a whole stream; raises what the decoder raises."""
    decoder = GeminiDialect().decoder(request or chat(stream=True), headers)
    return decoder.feed(body) + decoder.end()


def collected(body: bytes, request: ChatRequest | None = None) -> LLMResponse:
    """The answer that a whole stream amounts to."""
    collector = ResponseCollector()
    for event in events(body, request):
        collector.add(event)
    return collector.response()


def decoded(body: Any, request: ChatRequest | None = None) -> LLMResponse:
    """A whole answer, decoded."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GeminiDialect().decode(request or chat(), 200, {}, data)
