"""Answers in the shapes of OpenAI's two chat endpoints, whole and as the frames of a stream."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from core.llm.common.messages import ToolCall
from core.llm.common.types import Usage
from core.llm.testing.wire_dialects import pieces_of, sse

_CREATED: Final = 1_790_000_000
_FILTERED: Final = {
    "hate": {"filtered": False, "severity": "safe"},
    "violence": {"filtered": False, "severity": "safe"},
}


@dataclass(frozen=True, slots=True)
class OpenAIAnswer:
    """What the model says to one request."""

    text: str = ""
    tool_calls: Sequence[ToolCall] = ()
    reasoning: str = ""
    """Responses only: a summary; the encrypted reasoning comes with it where it was asked for."""
    phase: str | None = None
    """Responses only: the phase of the message."""
    refusal: str | None = None
    finish: Literal["stop", "length", "content_filter"] = "stop"
    usage: Usage = field(default_factory=lambda: Usage(input=7, cache_read=2, output=5, reasoning=3))
    service_tier: str = "default"


def chat_answer(answer: OpenAIAnswer, model: str, *, azure: bool) -> dict[str, Any]:
    """A chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": answer.refusal}
    if answer.tool_calls:
        message["tool_calls"] = _chat_calls(answer)
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": _chat_finish(answer), "logprobs": None}
    body = {**_chat_head("chat.completion", model, answer), "choices": [choice], "usage": _chat_usage(answer.usage)}
    if azure:
        choice["content_filter_results"] = _FILTERED
        body["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": _FILTERED}]
    return body


def chat_frames(answer: OpenAIAnswer, model: str, *, azure: bool, usage: bool) -> Iterator[bytes]:
    """A streamed chat completion."""
    head = _chat_head("chat.completion.chunk", model, answer)
    if azure:
        results = [{"prompt_index": 0, "content_filter_results": _FILTERED}]
        yield sse({**head, "id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": results})

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return sse({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in pieces_of(answer.text):
        yield chunk({"content": piece})
    for piece in pieces_of(answer.refusal or ""):
        yield chunk({"refusal": piece})
    for index, call in enumerate(_chat_calls(answer)):
        arguments = call["function"]["arguments"]
        yield chunk({"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]})
        for piece in (arguments[:4], arguments[4:]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, _chat_finish(answer))
    if usage:
        yield sse({**head, "choices": [], "usage": _chat_usage(answer.usage)})
    yield b"data: [DONE]\n\n"


def response_answer(answer: OpenAIAnswer, model: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """A response with the output *items*."""
    length = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish)
    usage = answer.usage
    return {
        **_response_head(model, answer),
        "status": "incomplete" if length else "completed",
        "incomplete_details": {"reason": length} if length else None,
        "output": items,
        "usage": {
            "input_tokens": usage.input_total,
            "input_tokens_details": {"cached_tokens": usage.cache_read},
            "output_tokens": usage.output_total,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.total,
        },
    }


def response_items(answer: OpenAIAnswer, encrypted: str | None) -> list[dict[str, Any]]:
    """The output items of *answer*."""
    items: list[dict[str, Any]] = []
    if answer.reasoning or encrypted:
        summary = [{"type": "summary_text", "text": answer.reasoning}] if answer.reasoning else []
        item = {"id": "rs_1", "type": "reasoning", "summary": summary}
        items.append({**item, "encrypted_content": encrypted} if encrypted else item)
    content = _content(answer)
    if content:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
        items.append({**message, "phase": answer.phase} if answer.phase else message)
    items.extend(
        {
            "id": f"fc_{number}",
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments_json(),
        }
        for number, call in enumerate(answer.tool_calls)
    )
    return items


def response_frames(answer: OpenAIAnswer, model: str, items: list[dict[str, Any]]) -> Iterator[bytes]:
    """A streamed response."""
    whole = response_answer(answer, model, items)
    begun = {**_response_head(model, answer), "status": "in_progress", "output": [], "usage": None}
    plain: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(items):
        empty = {**item, "status": "in_progress"}
        empty.update({key: [] for key in ("content", "summary") if key in item})
        empty.update({key: "" for key in ("arguments",) if key in item})
        empty.pop("encrypted_content", None)
        plain.append({"type": "response.output_item.added", "output_index": index, "item": empty})
        plain.extend({**event, "output_index": index, "item_id": item["id"]} for event in _item_events(item))
        plain.append({"type": "response.output_item.done", "output_index": index, "item": item})
    plain.append({"type": f"response.{whole['status']}", "response": whole})
    for number, event in enumerate(plain):
        data = json.dumps({**event, "sequence_number": number})
        yield f"event: {event['type']}\ndata: {data}\n\n".encode()


def _item_events(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number, part in enumerate(item.get("summary", ())):
        place = {"summary_index": number}
        yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
        for piece in pieces_of(part["text"]):
            yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
        yield {"type": "response.reasoning_summary_part.done", **place, "part": part}
    for number, part in enumerate(item.get("content", ())):
        kind = "refusal" if part["type"] == "refusal" else "output_text"
        text = part["refusal" if kind == "refusal" else "text"]
        place = {"content_index": number}
        yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
        for piece in pieces_of(text):
            extra: dict[str, Any] = {} if kind == "refusal" else {"logprobs": []}
            yield {"type": f"response.{kind}.delta", **place, "delta": piece, **extra}
        yield {"type": "response.content_part.done", **place, "part": part}
    if "arguments" in item:
        for piece in (item["arguments"][:4], item["arguments"][4:]):
            yield {"type": "response.function_call_arguments.delta", "delta": piece}
        yield {
            "type": "response.function_call_arguments.done", "arguments": item["arguments"], "name": item["name"]
        }  # fmt: skip


def _content(answer: OpenAIAnswer) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if answer.text:
        content.append({"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []})
    if answer.refusal:
        content.append({"type": "refusal", "refusal": answer.refusal})
    return content


def _chat_head(kind: str, model: str, answer: OpenAIAnswer) -> dict[str, Any]:
    tier = answer.service_tier
    return {"id": "chatcmpl-1", "object": kind, "created": _CREATED, "model": model, "service_tier": tier}


def _response_head(model: str, answer: OpenAIAnswer) -> dict[str, Any]:
    return {
        "id": "resp_1", "object": "response", "created_at": _CREATED, "model": model, "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True,
        "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0, "store": False,
        "service_tier": answer.service_tier,
    }  # fmt: skip


def _chat_calls(answer: OpenAIAnswer) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_json()}}
        for call in answer.tool_calls
    ]


def _chat_finish(answer: OpenAIAnswer) -> str:
    return "tool_calls" if answer.tool_calls and answer.finish == "stop" else answer.finish


def _chat_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output_total,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
