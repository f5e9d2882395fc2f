"""Plays the Gemini API for the contract."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.llm.common.types import Usage
from core.llm.testing import UpstreamAnswer, UpstreamFailure
from core.llm.testing.contract_upstream import RETRY_AFTER
from tests.contract.http_upstream import HttpUpstream, Refusal

_FINISH = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "other": "OTHER",
}
_ERRORS: dict[str, tuple[int, str, str]] = {
    "unauthorised": (400, "INVALID_ARGUMENT", "API key not valid: {secret}. Please pass a valid API key."),
    "rate_limited": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota."),
    "model_not_found": (404, "NOT_FOUND", "models/contract-model is not found for API version v1beta."),
    "invalid_request": (400, "INVALID_ARGUMENT", "Invalid value at 'contents'."),
    "server_error": (500, "INTERNAL", "An internal error has occurred."),
}


class GeminiUpstream(HttpUpstream):
    """`generateContent`, `streamGenerateContent`, `batchEmbedContents` and the model list."""

    stream_type = "text/event-stream"

    def whole(self, answer: UpstreamAnswer) -> bytes:
        parts = [*_thoughts(answer), *([{"text": answer.text}] if answer.text else []), *_calls(answer)]
        return json.dumps(_chunk(parts, _FINISH[answer.finish], answer.usage)).encode()

    def opening(self, answer: UpstreamAnswer) -> list[bytes]:
        return [_frame(_chunk([part])) for part in _thoughts(answer)]

    def frames(self, answer: UpstreamAnswer) -> tuple[list[bytes], list[bytes]]:
        rest = [_frame(_chunk([call])) for call in _calls(answer)]
        rest.append(_frame(_chunk([{"text": ""}], _FINISH[answer.finish], answer.usage)))
        return [_frame(_chunk([{"text": piece}])) for piece in answer.pieces], rest

    def vectors(self, vectors: list[Sequence[float]]) -> bytes:
        return json.dumps({"embeddings": [{"values": list(vector)} for vector in vectors]}).encode()

    def refusal(self, failure: UpstreamFailure, secret: str) -> Refusal:
        if failure == "not_an_answer":
            return Refusal(200, b"<html><body>Sign in to the guest network</body></html>", "text/html")
        status, word, message = _ERRORS[failure]
        error: dict[str, Any] = {"code": status, "message": message.format(secret=secret), "status": word}
        if failure == "unauthorised":
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
        if failure == "rate_limited":
            delay = f"{RETRY_AFTER:g}s"
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
        return Refusal(status, json.dumps({"error": error}).encode())

    def lookup(self, path: str) -> bytes:
        return json.dumps({"models": [{"name": "models/served-model"}]}).encode()

    def wants_stream(self, body: Mapping[str, Any]) -> bool:
        raise NotImplementedError("the path says it")

    async def _handle(self, request):
        # The body does not say whether a stream is wanted; the path does.
        self.wants_stream = lambda body: ":streamGenerateContent" in request.path
        return await super()._handle(request)


def _thoughts(answer: UpstreamAnswer) -> list[dict[str, Any]]:
    half = len(answer.thinking) // 2
    pieces = [answer.thinking[:half], answer.thinking[half:]] if answer.thinking else []
    return [{"text": piece, "thought": True} for piece in pieces if piece]


def _calls(answer: UpstreamAnswer) -> list[dict[str, Any]]:
    return [
        {"functionCall": {"id": call.id, "name": call.name, "args": dict(call.arguments)}} for call in answer.tool_calls
    ]


def _chunk(parts: list[dict[str, Any]], finish: str | None = None, usage: Usage | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    chunk: dict[str, Any] = {"candidates": [candidate], "modelVersion": "served-model", "responseId": "r1"}
    if usage is not None:
        chunk["usageMetadata"] = {
            "promptTokenCount": usage.input_total,
            "cachedContentTokenCount": usage.cache_read,
            "candidatesTokenCount": usage.output,
            "thoughtsTokenCount": usage.reasoning,
            "totalTokenCount": usage.total,
        }
    return chunk


def _frame(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n"
