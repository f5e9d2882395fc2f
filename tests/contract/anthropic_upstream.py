"""Plays Anthropic for the contract."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.llm.testing import UpstreamAnswer, UpstreamFailure
from core.llm.testing.anthropic_script import AnthropicAnswer, error_body
from core.llm.testing.contract_upstream import RETRY_AFTER
from tests.contract.http_upstream import HttpUpstream, Refusal

_ERRORS: dict[str, tuple[int, str, str]] = {
    "unauthorised": (401, "authentication_error", "invalid x-api-key: {secret}"),
    "rate_limited": (429, "rate_limit_error", "This request would exceed your rate limit."),
    "model_not_found": (404, "not_found_error", "model: nowhere"),
    "invalid_request": (400, "invalid_request_error", "messages: at least one message is required"),
    "server_error": (500, "api_error", "Internal server error"),
}
_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "refusal": "refusal"}


class AnthropicUpstream(HttpUpstream):
    """Messages and the model list."""

    stream_type = "text/event-stream"

    def whole(self, answer: UpstreamAnswer) -> bytes:
        return _played(answer).whole()

    def opening(self, answer: UpstreamAnswer) -> list[bytes]:
        return _played(answer).opening()

    def frames(self, answer: UpstreamAnswer) -> tuple[list[bytes], list[bytes]]:
        played = _played(answer)
        return played.text_frames(), played.closing()

    def vectors(self, vectors: list[Sequence[float]]) -> bytes:
        raise NotImplementedError

    def refusal(self, failure: UpstreamFailure, secret: str) -> Refusal:
        if failure == "not_an_answer":
            return Refusal(200, b"<html><body>Sign in to the guest network</body></html>", "text/html")
        status, kind, message = _ERRORS[failure]
        headers = {"retry-after": f"{RETRY_AFTER:g}"} if failure == "rate_limited" else None
        return Refusal(status, json.dumps(error_body(kind, message.format(secret=secret))).encode(), headers=headers)

    def lookup(self, path: str) -> bytes:
        data = [{"type": "model", "id": "served-model", "display_name": "Served"}]
        return json.dumps({"data": data, "has_more": False, "first_id": None, "last_id": None}).encode()

    def wants_stream(self, body: Mapping[str, Any]) -> bool:
        return bool(body.get("stream"))


def _played(answer: UpstreamAnswer) -> AnthropicAnswer:
    return AnthropicAnswer(
        answer.pieces,
        thinking=answer.thinking,
        tool_calls=answer.tool_calls,
        stop_reason=_FINISH[answer.finish],
        usage=answer.usage,
    )
