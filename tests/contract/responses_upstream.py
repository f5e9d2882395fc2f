"""Plays the Responses endpoint for the contract."""

import json
from collections.abc import Mapping
from typing import Any

from core.llm.common.types import Usage
from core.llm.testing import UpstreamAnswer
from tests.contract.openai_upstream import OpenAIUpstream


class ResponsesUpstream(OpenAIUpstream):
    """Answers of the other chat endpoint; errors, vectors and the model list are the same."""

    def whole(self, answer: UpstreamAnswer) -> bytes:
        return json.dumps(_response(answer)).encode()

    def opening(self, answer: UpstreamAnswer) -> list[bytes]:
        head = {"id": "resp_1", "object": "response", "status": "in_progress", "model": "served-model", "output": []}
        frames = [_event("response.created", response=head)]
        if answer.thinking:
            half = len(answer.thinking) // 2
            frames += [
                _event("response.reasoning_text.delta", output_index=0, item_id="rs_1", delta=part)
                for part in (answer.thinking[:half], answer.thinking[half:])
            ]
            frames.append(_event("response.output_item.done", output_index=0, item=_reasoning(answer)))
        return frames

    def frames(self, answer: UpstreamAnswer) -> tuple[list[bytes], list[bytes]]:
        pieces = [
            _event("response.output_text.delta", output_index=1, content_index=0, item_id="msg_1", delta=piece)
            for piece in answer.pieces
        ]
        rest = []
        for index, item in enumerate(_calls(answer), start=2):
            place = {"output_index": index, "item_id": item["id"]}
            rest.append(_event("response.output_item.added", output_index=index, item={**item, "arguments": ""}))
            for part in (item["arguments"][:5], item["arguments"][5:]):
                rest.append(_event("response.function_call_arguments.delta", **place, delta=part))
            rest.append(_event("response.output_item.done", output_index=index, item=item))
        whole = _response(answer)
        rest.append(_event(f"response.{whole['status']}", response=whole))
        return pieces, rest


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _response(answer: UpstreamAnswer) -> dict[str, Any]:
    output = [_reasoning(answer)] if answer.thinking else []
    if answer.text:
        content = [{"type": "output_text", "text": answer.text, "annotations": []}]
        output.append({"id": "msg_1", "type": "message", "role": "assistant", "content": content})
    cut = answer.finish == "length"
    body = {
        "id": "resp_1",
        "object": "response",
        "model": "served-model",
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": output + _calls(answer),
    }
    return body if answer.usage is None else {**body, "usage": _usage(answer.usage)}


def _reasoning(answer: UpstreamAnswer) -> dict[str, Any]:
    return {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": answer.thinking}],
    }


def _calls(answer: UpstreamAnswer) -> list[dict[str, Any]]:
    return [
        {
            "id": f"fc_{number}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments_json(),
        }
        for number, call in enumerate(answer.tool_calls)
    ]


def _usage(usage: Usage) -> Mapping[str, Any]:
    return {
        "input_tokens": usage.input_total,
        "output_tokens": usage.output_total,
        "total_tokens": usage.total,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
