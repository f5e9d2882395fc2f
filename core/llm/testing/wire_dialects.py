"""Answers of a known text with known token counts, as the servers of two dialects write them.

Each function gives bytes, or a list of frames whose concatenation is the stream. Used with `WireServer`, or alone to
feed a decoder.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

INPUT_TOKENS: Final = 7
"""What every answer here claims for the prompt."""


def pieces_of(text: str) -> list[str]:
    """*text* in the pieces in which the streams below send it: one per word, each one output token."""
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + words[-1:] if text else []


def openai_answer(text: str, *, model: str = "wire-model", finish: str = "stop", **fields: Any) -> bytes:
    """The body of a chat completion; *fields* are added or replace what is there."""
    body = {
        "id": "chatcmpl-wire",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": openai_usage(len(pieces_of(text))),
        **fields,
    }
    return json.dumps(body).encode()


def openai_usage(output: int) -> dict[str, int]:
    """The usage object for *output* tokens."""
    return {"prompt_tokens": INPUT_TOKENS, "completion_tokens": output, "total_tokens": INPUT_TOKENS + output}


def openai_stream(
    text: str,
    *,
    model: str = "wire-model",
    finish: str | None = "stop",
    usage: bool = True,
    done: bool = True,
) -> list[bytes]:
    """A streamed chat completion: role, one frame per piece, the finish, the usage, `[DONE]`.

    `finish=None` leaves the finish out, `done=False` the terminal marker.
    """
    frames = [openai_chunk({"role": "assistant", "content": ""}, model)]
    frames += [openai_chunk({"content": piece}, model) for piece in pieces_of(text)]
    if finish is not None:
        frames.append(openai_chunk({}, model, finish=finish))
    if usage:
        frames.append(openai_chunk(None, model, usage=openai_usage(len(pieces_of(text)))))
    if done:
        frames.append(b"data: [DONE]\n\n")
    return frames


def openai_chunk(
    delta: Mapping[str, Any] | None,
    model: str = "wire-model",
    *,
    finish: str | None = None,
    usage: Mapping[str, int] | None = None,
) -> bytes:
    """One frame of a streamed chat completion; without a delta it has no choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    chunk = {"id": "chatcmpl-wire", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": model}
    return sse({**chunk, "choices": choices, **({"usage": usage} if usage else {})})


def openai_error(message: str, *, type: str = "server_error", code: str | None = None) -> bytes:  # noqa: A002 - its name
    """The body of an error."""
    return json.dumps({"error": {"message": message, "type": type, "param": None, "code": code}}).encode()


def sse(data: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def ollama_answer(text: str, *, model: str = "wire-model", finish: str = "stop", **fields: Any) -> bytes:
    """The body of an answer of `/api/chat`; *fields* are added or replace what is there."""
    body = {**_ollama_message(text, model), "done": True, **_ollama_end(text, finish), **fields}
    return json.dumps(body).encode()


def ollama_stream(text: str, *, model: str = "wire-model", finish: str = "stop", done: bool = True) -> list[bytes]:
    """A streamed answer of `/api/chat`: one line per piece, then the line that ends it unless `done=False`."""
    lines: Sequence[dict[str, Any]] = [{**_ollama_message(piece, model), "done": False} for piece in pieces_of(text)]
    if done:
        lines = [*lines, {**_ollama_message("", model), "done": True, **_ollama_end(text, finish)}]
    return [ndjson(line) for line in lines]


def ollama_error(message: str) -> bytes:
    """The body of an error, which is also how a stream reports one."""
    return json.dumps({"error": message}).encode()


def ndjson(data: Any) -> bytes:
    """One line of a stream of JSON lines."""
    return json.dumps(data).encode() + b"\n"


def _ollama_message(text: str, model: str) -> dict[str, Any]:
    return {"model": model, "created_at": "2026-10-01T12:00:00Z", "message": {"role": "assistant", "content": text}}


def _ollama_end(text: str, finish: str) -> dict[str, Any]:
    return {
        "done_reason": finish,
        "total_duration": 50_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": INPUT_TOKENS,
        "prompt_eval_duration": 2_000_000,
        "eval_count": len(pieces_of(text)),
        "eval_duration": 40_000_000,
    }
