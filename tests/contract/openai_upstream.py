"""Plays an OpenAI-compatible server for the contract."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.llm.common.types import Usage
from core.llm.testing import UpstreamAnswer, UpstreamFailure
from core.llm.testing.contract_upstream import RETRY_AFTER
from tests.contract.http_upstream import HttpUpstream, Refusal

_ERRORS: dict[str, tuple[int, str, str | None, str]] = {
    "unauthorised": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: {secret}."),
    "rate_limited": (429, "requests", "rate_limit_exceeded", "Rate limit reached."),
    "model_not_found": (404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "invalid_request": (400, "invalid_request_error", None, "Invalid type for 'messages'."),
    "server_error": (500, "server_error", None, "The server had an error."),
}


class OpenAIUpstream(HttpUpstream):
    """Chat completions, embeddings and the model list."""

    stream_type = "text/event-stream"

    def whole(self, answer: UpstreamAnswer) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.thinking:
            message["reasoning_content"] = answer.thinking
        if answer.tool_calls:
            message["tool_calls"] = _tool_calls(answer)
        body = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "served-model",
            "choices": [{"index": 0, "message": message, "finish_reason": answer.finish}],
        }
        if answer.usage is not None:
            body["usage"] = _usage(answer.usage)
        return json.dumps(body).encode()

    def opening(self, answer: UpstreamAnswer) -> list[bytes]:
        frames = [_chunk({"role": "assistant", "content": ""})]
        if answer.thinking:
            half = len(answer.thinking) // 2
            frames += [_chunk({"reasoning_content": part}) for part in (answer.thinking[:half], answer.thinking[half:])]
        return frames

    def frames(self, answer: UpstreamAnswer) -> tuple[list[bytes], list[bytes]]:
        rest = []
        for index, call in enumerate(_tool_calls(answer)):
            function = call["function"]
            rest.append(_chunk({"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]}))
            text = function["arguments"]
            rest.extend(
                _chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
                for part in (text[:5], text[5:])
            )
        rest.append(_chunk({}, answer.finish))
        if answer.usage is not None:
            rest.append(_chunk(None, usage=_usage(answer.usage)))
        rest.append(b"data: [DONE]\n\n")
        return [_chunk({"content": piece}) for piece in answer.pieces], rest

    def vectors(self, vectors: list[Sequence[float]]) -> bytes:
        data = [{"object": "embedding", "index": n, "embedding": list(vector)} for n, vector in enumerate(vectors)]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return json.dumps({"object": "list", "model": "served-model", "data": data[::-1], "usage": usage}).encode()

    def refusal(self, failure: UpstreamFailure, secret: str) -> Refusal:
        if failure == "not_an_answer":
            return Refusal(200, b"<html><body>Sign in to the guest network</body></html>", "text/html")
        status, kind, code, message = _ERRORS[failure]
        error = {"message": message.format(secret=secret), "type": kind, "param": None, "code": code}
        headers = {"retry-after": f"{RETRY_AFTER:g}"} if failure == "rate_limited" else None
        return Refusal(status, json.dumps({"error": error}).encode(), headers=headers)

    def lookup(self, path: str) -> bytes:
        return json.dumps({"object": "list", "data": [{"id": "served-model", "object": "model"}]}).encode()

    def wants_stream(self, body: Mapping[str, Any]) -> bool:
        return bool(body.get("stream"))


def _chunk(delta: Mapping[str, Any] | None, finish: str | None = None, usage: Mapping[str, Any] | None = None) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "served-model", "choices": choices}
    if usage is not None:
        chunk["usage"] = usage
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _tool_calls(answer: UpstreamAnswer) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_json()}}
        for call in answer.tool_calls
    ]


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output_total,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
