"""Plays an Ollama server for the contract."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.llm.testing import UpstreamAnswer, UpstreamFailure
from core.llm.testing.contract_upstream import RETRY_AFTER
from tests.contract.http_upstream import HttpUpstream, Refusal

_ERRORS: dict[str, tuple[int, str]] = {
    "unauthorised": (401, "unauthorized: {secret}"),
    "rate_limited": (429, "too many requests"),
    "model_not_found": (404, 'model "contract-model" not found, try pulling it first'),
    "invalid_request": (400, "invalid option provided"),
    "server_error": (500, "llama runner process has terminated"),
}


class OllamaUpstream(HttpUpstream):
    """`/api/chat`, `/api/embed` and what a health check asks for."""

    stream_type = "application/x-ndjson"

    def whole(self, answer: UpstreamAnswer) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.thinking:
            message["thinking"] = answer.thinking
        if answer.tool_calls:
            message["tool_calls"] = _tool_calls(answer)
        return json.dumps({**_line(message), **_end(answer)}).encode()

    def opening(self, answer: UpstreamAnswer) -> list[bytes]:
        half = len(answer.thinking) // 2
        parts = [answer.thinking[:half], answer.thinking[half:]] if answer.thinking else []
        return [_frame(_line({"role": "assistant", "content": "", "thinking": part})) for part in parts]

    def frames(self, answer: UpstreamAnswer) -> tuple[list[bytes], list[bytes]]:
        pieces = [_frame(_line({"role": "assistant", "content": piece})) for piece in answer.pieces]
        rest = [
            _frame(_line({"role": "assistant", "content": "", "tool_calls": [call]})) for call in _tool_calls(answer)
        ]
        return pieces, [*rest, _frame({**_line({"role": "assistant", "content": ""}), **_end(answer)})]

    def vectors(self, vectors: list[Sequence[float]]) -> bytes:
        body = {"model": "served-model", "embeddings": [list(vector) for vector in vectors], "prompt_eval_count": 3}
        return json.dumps(body).encode()

    def refusal(self, failure: UpstreamFailure, secret: str) -> Refusal:
        if failure == "not_an_answer":
            return Refusal(200, b"<html><body>Sign in to the guest network</body></html>", "text/html")
        status, message = _ERRORS[failure]
        headers = {"retry-after": f"{RETRY_AFTER:g}"} if failure == "rate_limited" else None
        return Refusal(status, json.dumps({"error": message.format(secret=secret)}).encode(), headers=headers)

    def lookup(self, path: str) -> bytes:
        if path == "/api/version":
            return b'{"version": "0.30.0"}'
        return b'{"models": []}'

    def wants_stream(self, body: Mapping[str, Any]) -> bool:
        return body.get("stream", True) is True


def _line(message: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": "served-model", "created_at": "2026-10-01T12:00:00Z", "message": message, "done": False}


def _end(answer: UpstreamAnswer) -> dict[str, Any]:
    end: dict[str, Any] = {
        "done": True,
        # Ollama has no word of its own for an answer that calls tools.
        "done_reason": "stop" if answer.finish == "tool_calls" else answer.finish,
        "total_duration": 5_000_000,
        "load_duration": 1_000_000,
    }
    if answer.usage is not None:
        end |= {"prompt_eval_count": answer.usage.input, "eval_count": answer.usage.output}
    return end


def _frame(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _tool_calls(answer: UpstreamAnswer) -> list[dict[str, Any]]:
    return [{"function": {"name": call.name, "arguments": dict(call.arguments)}} for call in answer.tool_calls]
