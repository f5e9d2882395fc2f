"""Answers of an Anthropic server as they are on the wire: whole, or as the events of a stream."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from core.llm.common.messages import ToolCall
from core.llm.common.types import Usage

MODEL: Final = "claude-served"
INPUT_TOKENS: Final = 12
"""What an answer claims for the prompt unless it is told otherwise."""


def signature_of(thinking: str) -> str:
    """The signature this server puts on *thinking*."""
    return "sig" + hashlib.sha256(thinking.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class AnthropicAnswer:
    """One answer. Blocks come in the order thinking, redacted thinking, text, tool calls, then `blocks` as they are."""

    text: str | Sequence[str] = "Hello"
    """The text, or the pieces in which a stream sends it."""
    thinking: str = ""
    redacted: str = ""
    tool_calls: Sequence[ToolCall] = ()
    """Where `raw_arguments` is set, a stream sends it as it is, valid or not."""
    blocks: Sequence[Mapping[str, Any]] = ()
    stop_reason: str | None = None
    """`None`: `tool_use` where there are tool calls, else `end_turn`."""
    stop_details: Mapping[str, Any] | None = None
    usage: Usage | None = field(default_factory=lambda: Usage(input=INPUT_TOKENS, output=5))
    """`None`: the answer says nothing about tokens."""
    error_after: int | None = None
    """A stream breaks off with an `overloaded_error` event after so many pieces of text."""
    cut_after: int | None = None
    """A stream ends without its end after so many pieces of text."""
    model: str = MODEL
    id: str = "msg_served"

    @property
    def pieces(self) -> list[str]:
        """The text in the pieces of a stream."""
        if isinstance(self.text, str):
            words = self.text.split(" ")
            return [word + " " for word in words[:-1]] + words[-1:] if self.text else []
        return list(self.text)

    @property
    def finish(self) -> str:
        """The stop reason on the wire."""
        return self.stop_reason or ("tool_use" if self.tool_calls else "end_turn")

    def content(self) -> list[dict[str, Any]]:
        """The content blocks of the whole answer."""
        blocks: list[dict[str, Any]] = []
        if self.thinking:
            blocks.append({"type": "thinking", "thinking": self.thinking, "signature": signature_of(self.thinking)})
        if self.redacted:
            blocks.append({"type": "redacted_thinking", "data": self.redacted})
        if text := "".join(self.pieces):
            blocks.append({"type": "text", "text": text})
        for call in self.tool_calls:
            given: Any = dict(call.arguments) if call.raw_arguments is None else call.raw_arguments
            blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": given})
        return blocks + [dict(block) for block in self.blocks]

    def whole(self) -> bytes:
        """The body of the whole answer."""
        body = {**self._head(), "content": self.content(), "stop_reason": self.finish}
        body["stop_details"] = self.stop_details
        if self.usage is not None:
            body["usage"] = usage_on_wire(self.usage)
        return json.dumps(body).encode()

    def stream(self) -> list[bytes]:
        """The frames of the streamed answer."""
        return [*self.opening(), *self.text_frames(), *self.closing()]

    def opening(self) -> list[bytes]:
        """The frames before the text, thinking included; the block of the text is opened."""
        start = {**self._head(), "content": [], "stop_reason": None, "stop_details": None}
        if self.usage is not None:
            start["usage"] = {**usage_on_wire(self.usage), "output_tokens": 1}
            start["usage"].pop("output_tokens_details", None)
        frames = [frame("message_start", message=start), frame("ping")]
        for index, block in enumerate(self._before_text()):
            frames.extend(_block_frames(index, block))
        if self.pieces:
            text = {"type": "text", "text": ""}
            frames.append(frame("content_block_start", index=len(self._before_text()), content_block=text))
        return frames

    def text_frames(self) -> list[bytes]:
        """One frame for each piece of text."""
        index = len(self._before_text())
        return [
            frame("content_block_delta", index=index, delta={"type": "text_delta", "text": piece})
            for piece in self.pieces
        ]

    def closing(self) -> list[bytes]:
        """The frames after the text."""
        index = len(self._before_text())
        frames: list[bytes] = []
        if self.pieces:
            frames.append(frame("content_block_stop", index=index))
            index += 1
        for offset, block in enumerate(self.content()[index:]):
            frames.extend(_block_frames(index + offset, block))
        delta = {"stop_reason": self.finish, "stop_sequence": None, "stop_details": self.stop_details}
        more = {} if self.usage is None else {"usage": usage_on_wire(self.usage)}
        return [*frames, frame("message_delta", delta=delta, **more), frame("message_stop")]

    def _before_text(self) -> list[dict[str, Any]]:
        return self.content()[: bool(self.thinking) + bool(self.redacted)]

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "type": "message", "role": "assistant", "model": self.model, "stop_sequence": None}


def frame(kind: str, **fields: Any) -> bytes:
    """One event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def error_body(kind: str, message: str) -> dict[str, Any]:
    """An error as the API writes it, in a body and in a stream."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_served"}


def usage_on_wire(usage: Usage) -> dict[str, Any]:
    """*usage* as the API counts: cached tokens beside the input, thinking inside the output."""
    counts: dict[str, Any] = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output_total,
    }
    if usage.reasoning:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return counts


def _block_frames(index: int, block: dict[str, Any]) -> Iterator[bytes]:
    def delta(kind: str, **fields: Any) -> bytes:
        return frame("content_block_delta", index=index, delta={"type": kind, **fields})

    match block["type"]:
        case "thinking":
            yield frame(
                "content_block_start", index=index, content_block={"type": "thinking", "thinking": "", "signature": ""}
            )
            half = len(block["thinking"]) // 2
            yield delta("thinking_delta", thinking=block["thinking"][:half])
            yield delta("thinking_delta", thinking=block["thinking"][half:])
            yield delta("signature_delta", signature=block["signature"])
        case "tool_use" | "server_tool_use":
            given = block["input"]
            text = given if isinstance(given, str) else json.dumps(given) if given else ""
            yield frame("content_block_start", index=index, content_block={**block, "input": {}})
            for piece in ("", text[:5], text[5:]):
                yield delta("input_json_delta", partial_json=piece)
        case _:
            yield frame("content_block_start", index=index, content_block=block)
    yield frame("content_block_stop", index=index)
