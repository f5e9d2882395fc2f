"""Plays Bedrock for the contract."""

import json
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from aiohttp import web

from core.llm.common.types import Usage
from core.llm.testing import UpstreamAnswer, UpstreamFailure
from core.llm.testing.bedrock_frames import event_frame, text_frame, tool_frames
from core.llm.testing.contract_upstream import RETRY_AFTER
from tests.contract.http_upstream import HttpUpstream, Refusal

_ERRORS: dict[str, tuple[int, str, str]] = {
    "unauthorised": (403, "UnrecognizedClientException", "The security token {secret} in the request is invalid."),
    "rate_limited": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "model_not_found": (400, "ValidationException", "The provided model identifier is invalid."),
    "invalid_request": (400, "ValidationException", "Malformed input request: #: extraneous key [x] is not permitted"),
    "server_error": (500, "InternalServerException", "The system encountered an unexpected error."),
}
_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "content_filtered"}


class BedrockUpstream(HttpUpstream):
    """Converse, ConverseStream, InvokeModel and the model list."""

    stream_type = "application/vnd.amazon.eventstream"

    def __init__(self) -> None:
        super().__init__()
        # It is the path that asks for a stream, not the body.
        self._path: ContextVar[str] = ContextVar("path", default="")

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._path.set(request.path)
        return await super()._handle(request)

    def wants_stream(self, body: Mapping[str, Any]) -> bool:
        return self._path.get().endswith("/converse-stream")

    def whole(self, answer: UpstreamAnswer) -> bytes:
        content: list[dict[str, Any]] = []
        if answer.thinking:
            content.append({"reasoningContent": {"reasoningText": {"text": answer.thinking}}})
        if answer.text:
            content.append({"text": answer.text})
        content += [
            {"toolUse": {"toolUseId": call.id, "name": call.name, "input": dict(call.arguments)}}
            for call in answer.tool_calls
        ]
        body = {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": _FINISH[answer.finish],
            "metrics": {"latencyMs": 5},
        }
        if answer.usage is not None:
            body["usage"] = _usage(answer.usage)
        return json.dumps(body).encode()

    def opening(self, answer: UpstreamAnswer) -> list[bytes]:
        frames = [event_frame("messageStart", {"role": "assistant"})]
        half = len(answer.thinking) // 2
        for piece in (answer.thinking[:half], answer.thinking[half:]) if answer.thinking else ():
            delta = {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": piece}}}
            frames.append(event_frame("contentBlockDelta", delta))
        return frames

    def frames(self, answer: UpstreamAnswer) -> tuple[list[bytes], list[bytes]]:
        rest = [event_frame("contentBlockStop", {"contentBlockIndex": 1})]
        for index, call in enumerate(answer.tool_calls):
            text = call.arguments_json()
            rest += tool_frames(index + 2, call.id, call.name, [text[:5], text[5:]])
        rest.append(event_frame("messageStop", {"stopReason": _FINISH[answer.finish]}))
        metadata: dict[str, Any] = {"metrics": {"latencyMs": 5}}
        if answer.usage is not None:
            metadata["usage"] = _usage(answer.usage)
        return [text_frame(piece, 1) for piece in answer.pieces], [*rest, event_frame("metadata", metadata)]

    def vectors(self, vectors: list[Sequence[float]]) -> bytes:
        return json.dumps({"embeddings": [list(one) for one in vectors], "response_type": "embeddings_floats"}).encode()

    def refusal(self, failure: UpstreamFailure, secret: str) -> Refusal:
        if failure == "not_an_answer":
            return Refusal(200, b"<html><body>Sign in to the guest network</body></html>", "text/html")
        status, name, message = _ERRORS[failure]
        headers = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
        if failure == "rate_limited":
            headers["retry-after"] = f"{RETRY_AFTER:g}"
        return Refusal(status, json.dumps({"message": message.format(secret=secret)}).encode(), headers=headers)

    def lookup(self, path: str) -> bytes:
        return b'{"modelSummaries": [{"modelId": "served.model", "outputModalities": ["TEXT"]}]}'


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "inputTokens": usage.input,
        "outputTokens": usage.output,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write,
        "totalTokens": usage.total,
    }
