"""Requests, streams and answers for the tests of the Messages dialect."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.data.facts import model_facts
from core.llm.dialects.anthropic_chat import AnthropicDialect
from core.llm.dialects.anthropic_quirks import AnthropicQuirks
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector, StreamEvent
from core.llm.testing.anthropic_rules import check_request


def chat(
    messages: Any = "hello",
    *,
    model: str = "claude-next",
    stream: bool = False,
    facts: ModelFacts | None = None,
    extra: Mapping[str, Any] | None = None,
    **params: Any,
) -> ChatRequest:
    """A request as a provider is handed it, with the packaged facts of *model* unless others are given."""
    asked = LLMRequest(messages=messages, **params)
    known = model_facts("anthropic", model) if facts is None else facts
    return ChatRequest(
        "anthropic", model, asked, asked.messages, known, PhaseLimits(), stream=stream, extra=extra or {}
    )


def body_of(request: ChatRequest, *, strict: bool = True, **quirks: Any) -> dict[str, Any]:
    """What would be sent; *strict* checks that the API would take it."""
    call = AnthropicDialect(AnthropicQuirks(**quirks)).encode(request)
    assert isinstance(call.body, bytes)
    decoded: dict[str, Any] = from_json(call.body)
    if strict:
        check_request(decoded, request.facts)
    return decoded


def warned(request: ChatRequest) -> list[tuple[str, str | None]]:
    """Code and parameter of each warning."""
    return [(warning.code, warning.parameter) for warning in request.warnings]


def sse(*events: Mapping[str, Any]) -> bytes:
    """*events* as an event stream."""
    return b"".join(
        b"event: " + str(event["type"]).encode() + b"\ndata: " + to_json(event) + b"\n\n" for event in events
    )


START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "claude-1", "content": [], "usage": {"input_tokens": 7, "output_tokens": 1}},
}
STOP = {"type": "message_stop"}


def block(index: int, start: Mapping[str, Any], *deltas: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events of one content block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def ending(reason: str | None = "end_turn", **usage: Any) -> dict[str, Any]:
    """The event that says why the model stopped."""
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3, **usage}}


def events(body: bytes, request: ChatRequest | None = None, **quirks: Any) -> list[StreamEvent]:
    """The events of a whole stream; raises what the decoder raises."""
    decoder = AnthropicDialect(AnthropicQuirks(**quirks)).decoder(request or chat(stream=True), {})
    return decoder.feed(body) + decoder.end()


def collected(body: bytes, request: ChatRequest | None = None) -> LLMResponse:
    """The answer that a whole stream amounts to."""
    collector = ResponseCollector()
    for event in events(body, request):
        collector.add(event)
    return collector.response()


def answer(*content: Mapping[str, Any], reason: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    """A whole answer."""
    usage = {"input_tokens": 7, "output_tokens": 3}
    return {"id": "msg_1", "type": "message", "model": "claude-1", "content": list(content), "stop_reason": reason,
            "usage": usage, **more}  # fmt: skip


def decoded(body: bytes | Mapping[str, Any], request: ChatRequest | None = None) -> LLMResponse:
    """A whole answer, decoded."""
    data = body if isinstance(body, bytes) else to_json(body)
    return AnthropicDialect().decode(request or chat(), 200, {}, data)
