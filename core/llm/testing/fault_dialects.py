"""The wire formats in which faults are played: how each spells an answer of a known text, and a refusal.

`WIRE_DIALECTS` has all of them by name. A dialect knows nothing of faults; `fault_scripts` puts the two together.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.llm.common.types import Usage
from core.llm.testing import wire_dialects as wire
from core.llm.testing.anthropic_script import AnthropicAnswer, error_body
from core.llm.testing.anthropic_script import frame as anthropic_frame
from core.llm.testing.bedrock_frames import EVENT_STREAM, bedrock_error, converse_answer, converse_stream
from core.llm.testing.fault_plan import Refuse
from core.llm.testing.openai_answers import OpenAIAnswer, response_answer, response_frames, response_items
from core.llm.testing.wire_dialects import INPUT_TOKENS, pieces_of
from core.llm.testing.wire_server import WireRequest

_MODEL_IN_PATH: Final = re.compile(r"/(?:models|model|deployments)/([^/:?]+)")
_GEMINI_WORDS: Final = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
_ANTHROPIC_WORDS: Final = {
    400: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
_BEDROCK_WORDS: Final = {400: "ValidationException", 429: "ThrottlingException", 503: "ServiceUnavailableException"}
_WINDOW: Final = 8000


@dataclass(frozen=True, slots=True)
class WireFrames:
    """A streamed answer in three parts; one frame for each piece of the text."""

    opening: list[bytes]
    pieces: list[bytes]
    closing: list[bytes]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal as it is on the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WireDialect:
    """One wire format, as a server speaks it."""

    name: str
    provider: Mapping[str, Any]
    """Settings of a provider that speaks it, all but `base_url`."""
    whole: Callable[[str, str], bytes]
    """The body of an answer: text, model."""
    frames: Callable[[str, str], WireFrames]
    """The same as a stream."""
    refuse: Callable[[Refuse], Refusal]
    content_type: str = "text/event-stream"
    garbage: bytes = b"data: {broken\n\n"
    """A frame that cannot be read."""
    marked: bool = False
    """Whether a stream ends with a frame that is nothing but a marker."""

    def asks_stream(self, request: WireRequest) -> bool:
        """Whether *request* wants a stream."""
        if "stream" in request.path.lower():
            return True
        return bool(_body(request).get("stream", False))

    def model_of(self, request: WireRequest) -> str:
        """The model that *request* is for."""
        named = _body(request).get("model")
        found = _MODEL_IN_PATH.search(request.path)
        return str(named) if named else found[1] if found else ""


def _body(request: WireRequest) -> dict[str, Any]:
    try:
        value = json.loads(request.body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def usage_of(text: str) -> Usage:
    """What an answer of *text* claims, in every dialect."""
    return Usage(input=INPUT_TOKENS, output=len(pieces_of(text)))


def _split(frames: list[bytes], opening: int, text: str) -> WireFrames:
    end = opening + len(pieces_of(text))
    return WireFrames(frames[:opening], frames[opening:end], frames[end:])


def _hint(refusal: Refuse) -> dict[str, str]:
    return {} if refusal.retry_after is None else {"retry-after": f"{refusal.retry_after:g}"}


def _openai_refusal(refusal: Refuse) -> Refusal:
    kind = "invalid_request_error" if 400 <= refusal.status < 429 else "server_error"
    body = wire.openai_error(refusal.message, type=kind, code=refusal.code)
    return Refusal(refusal.status, body, _hint(refusal))


def _chat_frames(text: str, model: str) -> WireFrames:
    return _split(wire.openai_stream(text, model=model), 1, text)


def _responses_whole(text: str, model: str) -> bytes:
    played = OpenAIAnswer(text, usage=usage_of(text))
    return json.dumps(response_answer(played, model, response_items(played, None))).encode()


def _responses_frames(text: str, model: str) -> WireFrames:
    played = OpenAIAnswer(text, usage=usage_of(text))
    frames = list(response_frames(played, model, response_items(played, None)))
    first = next(at for at, one in enumerate(frames) if b"output_text.delta" in one) if text else len(frames)
    return _split(frames, first, text)


def _anthropic(text: str, model: str) -> AnthropicAnswer:
    return AnthropicAnswer(pieces_of(text), usage=usage_of(text), model=model)


def _anthropic_frames(text: str, model: str) -> WireFrames:
    played = _anthropic(text, model)
    return WireFrames(played.opening(), played.text_frames(), played.closing())


def _anthropic_refusal(refusal: Refuse) -> Refusal:
    message = refusal.message
    if refusal.code == "context_length_exceeded":
        message = f"prompt is too long: {2 * _WINDOW} tokens > {_WINDOW} maximum"
    elif refusal.code == "content_policy_violation":
        message = "Output blocked by content filtering policy"
    word = _ANTHROPIC_WORDS.get(refusal.status, "api_error")
    return Refusal(refusal.status, json.dumps(error_body(word, message)).encode(), _hint(refusal))


def _gemini_chunk(parts: list[dict[str, Any]], model: str, finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": model, "responseId": "response-1"}


def _gemini_end(text: str, model: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    used = usage_of(text)
    counts = {"promptTokenCount": used.input, "candidatesTokenCount": used.output, "totalTokenCount": used.total}
    return {**_gemini_chunk(parts, model, "STOP"), "usageMetadata": counts}


def _gemini_frame(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n"


def _gemini_frames(text: str, model: str) -> WireFrames:
    pieces = [_gemini_frame(_gemini_chunk([{"text": piece}], model)) for piece in pieces_of(text)]
    return WireFrames([], pieces, [_gemini_frame(_gemini_end(text, model, [{"text": ""}]))])


def _gemini_refusal(refusal: Refuse) -> Refusal:
    message = refusal.message
    if refusal.code == "content_policy_violation":
        # Google blocks a prompt with a good status and no candidates.
        blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "m"}
        return Refusal(200, json.dumps(blocked).encode(), {})
    if refusal.code == "context_length_exceeded":
        message = f"The input token count ({2 * _WINDOW}) exceeds the maximum number of tokens allowed ({_WINDOW})."
    word = _GEMINI_WORDS.get(refusal.status, "INTERNAL")
    error: dict[str, Any] = {"code": refusal.status, "message": message, "status": word}
    if refusal.retry_after is not None:
        delay = f"{refusal.retry_after:g}s"
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    return Refusal(refusal.status, json.dumps({"error": error}).encode(), {})


def _bedrock_refusal(refusal: Refuse) -> Refusal:
    message = refusal.message
    if refusal.code == "context_length_exceeded":
        message = "Input is too long for requested model."
    word = _BEDROCK_WORDS.get(refusal.status, "InternalServerException")
    return Refusal(refusal.status, bedrock_error(message), {"x-amzn-errortype": word, **_hint(refusal)})


def _ollama_refusal(refusal: Refuse) -> Refusal:
    message = refusal.message
    if refusal.code == "context_length_exceeded":
        message = "the input length exceeds the available context size, try increasing it"
    elif refusal.code == "content_policy_violation":
        message = "the prompt was flagged by the content policy of this model"
    return Refusal(refusal.status, wire.ollama_error(message), _hint(refusal))


_KEY: Final = "sk-fault-0123456789abcdef"

OPENAI: Final = WireDialect(
    "openai",
    {"type": "openai", "api_key": _KEY, "api": "chat"},
    lambda text, model: wire.openai_answer(text, model=model),
    _chat_frames,
    _openai_refusal,
    marked=True,
)
RESPONSES: Final = WireDialect(
    "openai_responses",
    {"type": "openai", "api_key": _KEY, "api": "responses"},
    _responses_whole,
    _responses_frames,
    _openai_refusal,
    garbage=b"event: response.output_text.delta\ndata: {broken\n\n",
)
AZURE: Final = WireDialect(
    "azure",
    {"type": "azure_openai", "api_key": _KEY, "api": "chat"},
    lambda text, model: wire.openai_answer(text, model=model),
    _chat_frames,
    _openai_refusal,
    marked=True,
)
ANTHROPIC: Final = WireDialect(
    "anthropic",
    {"type": "anthropic", "api_key": _KEY},
    lambda text, model: _anthropic(text, model).whole(),
    _anthropic_frames,
    _anthropic_refusal,
    garbage=anthropic_frame("content_block_delta").replace(b"}", b""),
    marked=True,
)
GEMINI: Final = WireDialect(
    "gemini",
    {"type": "gemini", "api_key": _KEY},
    lambda text, model: json.dumps(_gemini_end(text, model, [{"text": text}])).encode(),
    _gemini_frames,
    _gemini_refusal,
    garbage=b"data: {broken\r\n\r\n",
)
BEDROCK: Final = WireDialect(
    "bedrock",
    {"type": "bedrock", "region": "us-east-1", "api_key": _KEY},
    lambda text, _: converse_answer(text),
    lambda text, _: _split(converse_stream(text), 1, text),
    _bedrock_refusal,
    content_type=EVENT_STREAM,
    garbage=b"\x00\x00\x00\x20\x00\x00\x00\x00broken-checksum-and-all!",
)
OLLAMA: Final = WireDialect(
    "ollama",
    {"type": "ollama"},
    lambda text, model: wire.ollama_answer(text, model=model),
    lambda text, model: _split(wire.ollama_stream(text, model=model), 0, text),
    _ollama_refusal,
    content_type="application/x-ndjson",
    garbage=b"{broken\n",
)

WIRE_DIALECTS: Final[Mapping[str, WireDialect]] = {
    dialect.name: dialect for dialect in (OPENAI, RESPONSES, ANTHROPIC, GEMINI, AZURE, BEDROCK, OLLAMA)
}
"""Every dialect by its name."""
