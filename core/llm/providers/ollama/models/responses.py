"""What the endpoints that run a model answer: chat, generate, embed, embeddings.

Fields the server left out are `None` (or empty). Durations are nanoseconds. Timestamps are RFC 3339 text as received:
Ollama writes nine fractional digits, which Python's `datetime` cannot hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from core.llm.providers.ollama.models.reading import (
    Reply,
    flag,
    mismatch,
    numbers,
    objects,
    sequence,
    text,
    whole,
)


@dataclass(slots=True)
class ToolCallReply(Reply):
    """A tool the model asks for. `arguments` is an object; other servers of this dialect also send JSON text."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None
    index: int | None = None

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read one entry of `tool_calls`."""
        function = source.get("function")
        if function.__class__ is not dict:
            raise mismatch("function", "an object", function)
        inner: dict[str, Any] = function
        name = inner.get("name")
        if not isinstance(name, str):
            raise mismatch("function.name", "a string", name)
        arguments = inner.get("arguments")
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, dict | str):
            raise mismatch("function.arguments", "an object", arguments)
        return cls(name, arguments, text(source, "id"), whole(inner, "index"), raw=source)

    def to_object(self) -> dict[str, Any]:
        """The entry in Ollama's shape."""
        if self.raw:
            return dict(self.raw)
        function: dict[str, Any] = {"name": self.name, "arguments": self.arguments}
        if self.index is not None:
            function["index"] = self.index
        return {"id": self.id, "function": function} if self.id else {"function": function}


@dataclass(slots=True)
class MessageReply(Reply):
    """What the model said, or a piece of it."""

    role: str = "assistant"
    content: str = ""
    thinking: str | None = None
    tool_calls: tuple[ToolCallReply, ...] = ()

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read `message`."""
        return cls(
            text(source, "role") or "assistant",
            text(source, "content") or "",
            text(source, "thinking"),
            tuple([ToolCallReply.from_object(item) for item in objects(source, "tool_calls")]),
            raw=source,
        )


@dataclass(slots=True)
class _Generated(Reply):
    model: str = ""
    created_at: str | None = None
    done: bool = False
    done_reason: str | None = None
    """`stop`, `length`, `load` or `unload`; only with `done`."""
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    logprobs: tuple[Any, ...] | None = None

    def _finish(self, source: dict[str, Any]) -> None:
        """Read what only the last line of an answer has."""
        self.done_reason = text(source, "done_reason")
        self.total_duration = whole(source, "total_duration")
        self.load_duration = whole(source, "load_duration")
        self.prompt_eval_count = whole(source, "prompt_eval_count")
        self.prompt_eval_duration = whole(source, "prompt_eval_duration")
        self.eval_count = whole(source, "eval_count")
        self.eval_duration = whole(source, "eval_duration")


@dataclass(slots=True)
class ChatResponse(_Generated):
    """An answer of `/api/chat`, or one line of its stream."""

    message: MessageReply = field(default_factory=MessageReply)

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read an answer or a line."""
        message = source.get("message")
        if message.__class__ is not dict:
            raise mismatch("message", "an object", message)
        inner: dict[str, Any] = message
        reply = cls(
            text(source, "model") or "",
            text(source, "created_at"),
            flag(source, "done"),
            message=MessageReply.from_object(inner),
            raw=source,
        )
        if reply.done:
            reply._finish(source)
        if "logprobs" in source:
            reply.logprobs = tuple(sequence(source, "logprobs"))
        return reply


@dataclass(slots=True)
class GenerateResponse(_Generated):
    """An answer of `/api/generate`, or one line of its stream."""

    response: str = ""
    thinking: str | None = None
    context: tuple[int, ...] | None = None
    image: str | None = None
    """The generated picture in base64, from image models."""

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read an answer or a line."""
        reply = cls(
            text(source, "model") or "",
            text(source, "created_at"),
            flag(source, "done"),
            response=text(source, "response") or "",
            thinking=text(source, "thinking"),
            image=text(source, "image"),
            raw=source,
        )
        if reply.done:
            reply._finish(source)
        if source.get("context") is not None:
            reply.context = tuple(sequence(source, "context"))
        if "logprobs" in source:
            reply.logprobs = tuple(sequence(source, "logprobs"))
        return reply


@dataclass(slots=True)
class EmbedResponse(Reply):
    """Vectors of length one, in the order of the inputs."""

    model: str = ""
    embeddings: tuple[tuple[float, ...], ...] = ()
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read the answer of `/api/embed`."""
        if "embeddings" not in source:
            raise mismatch("embeddings", "an array", None)
        return cls(
            text(source, "model") or "",
            tuple([numbers(item, "embeddings") for item in sequence(source, "embeddings")]),
            whole(source, "total_duration"),
            whole(source, "load_duration"),
            whole(source, "prompt_eval_count"),
            raw=source,
        )


@dataclass(slots=True)
class EmbeddingsResponse(Reply):
    """One vector, not normalised."""

    embedding: tuple[float, ...] = ()

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read the answer of `/api/embeddings`."""
        return cls(numbers(source.get("embedding"), "embedding"), raw=source)
