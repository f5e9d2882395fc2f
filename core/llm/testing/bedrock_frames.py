"""What Bedrock writes: frames of the AWS event stream, and answers of Converse of a known text with known counts."""

import json
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zlib import crc32

from core.llm.testing.wire_dialects import INPUT_TOKENS, pieces_of

EVENT_STREAM = "application/vnd.amazon.eventstream"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_frame(headers: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """One frame; the type of each header follows from its value: bool, int, bytes, str, datetime or UUID."""
    block = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    message = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return message + struct.pack(">I", crc32(message))


def event_frame(kind: str, payload: Any) -> bytes:
    """An event such as `messageStop`, with *payload* as JSON."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, json.dumps(payload, ensure_ascii=False).encode())


def exception_frame(kind: str, message: str) -> bytes:
    """An exception such as `throttlingException` in the middle of a stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return encode_frame(headers, json.dumps({"message": message}).encode())


def bedrock_usage(output: int) -> dict[str, int]:
    """The usage object for *output* tokens."""
    return {"inputTokens": INPUT_TOKENS, "outputTokens": output, "totalTokens": INPUT_TOKENS + output}


def converse_answer(text: str, *, finish: str = "end_turn", **fields: Any) -> bytes:
    """The body of an answer of Converse; *fields* are added or replace what is there."""
    body = {
        "metrics": {"latencyMs": 50},
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": finish,
        "usage": bedrock_usage(len(pieces_of(text))),
        **fields,
    }
    return json.dumps(body).encode()


def converse_stream(text: str, *, finish: str | None = "end_turn", usage: bool = True) -> list[bytes]:
    """A streamed answer: start, one frame per piece, end of the block, the reason to stop, the usage.

    `finish=None` leaves the reason out, `usage=False` what comes after it.
    """
    frames = [event_frame("messageStart", {"role": "assistant", "p": "abc"})]
    frames += [text_frame(piece) for piece in pieces_of(text)]
    frames.append(event_frame("contentBlockStop", {"contentBlockIndex": 0, "p": "ab"}))
    if finish is not None:
        frames.append(event_frame("messageStop", {"stopReason": finish, "p": "abcde"}))
    if usage:
        payload = {"usage": bedrock_usage(len(pieces_of(text))), "metrics": {"latencyMs": 50}, "p": "a"}
        frames.append(event_frame("metadata", payload))
    return frames


def text_frame(text: str, index: int = 0) -> bytes:
    """One piece of text."""
    return event_frame("contentBlockDelta", {"contentBlockIndex": index, "delta": {"text": text}, "p": "abcd"})


def tool_frames(index: int, identifier: str, name: str, arguments: Sequence[str]) -> list[bytes]:
    """One tool call, its arguments in pieces."""
    start = {"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": identifier, "name": name}}}
    deltas = [{"contentBlockIndex": index, "delta": {"toolUse": {"input": piece}}} for piece in arguments]
    return [
        event_frame("contentBlockStart", start),
        *(event_frame("contentBlockDelta", delta) for delta in deltas),
        event_frame("contentBlockStop", {"contentBlockIndex": index}),
    ]


def bedrock_error(message: str) -> bytes:
    """The body of an error; its name travels in the header `x-amzn-errortype`."""
    return json.dumps({"message": message}).encode()


def _header(name: str, value: Any) -> bytes:
    head = struct.pack(">B", len(name.encode())) + name.encode()
    match value:
        case bool():
            return head + (b"\x00" if value else b"\x01")
        case int():
            return head + b"\x05" + struct.pack(">q", value)
        case bytes():
            return head + b"\x06" + struct.pack(">H", len(value)) + value
        case str():
            return head + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        case datetime():
            return head + b"\x08" + struct.pack(">q", round((value - _EPOCH).total_seconds() * 1000))
        case UUID():
            return head + b"\x09" + value.bytes
    raise TypeError(f"a frame header cannot be a {type(value).__name__}")
