"""What comes back: the whole answer, the events of a stream, vectors; and how events add up to an answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Generic

from core.llm.common.messages import Message, TextPart, ThinkingPart, ToolCall
from core.llm.common.trace import CallTrace
from core.llm.common.types import CallWarning, Cost, FinishReason, ModelRef, ObjectT, PartialOutput, Usage

# `None`, for what an answer gets on its way: whoever asked for it finds it there.
_NO_OBJECT: Final[Any] = None
_UNTOLD: Final[Any] = None

AnswerPart = TextPart | ThinkingPart | ToolCall


@dataclass(slots=True)
class LLMResponse(Generic[ObjectT]):
    """A complete answer. A truncated, blocked or empty one never becomes an `LLMResponse`.

    `LLMResponse[Invoice]` is one to `generate_object(…, Invoice)`.
    """

    parts: tuple[AnswerPart, ...]
    finish_reason: FinishReason
    model: str = ""
    """The model that answered, as the provider names it."""
    provider: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: Cost | None = None
    """`None` where no price is known."""
    duration: float = 0.0
    """Seconds from the call to the complete answer."""
    time_to_first_token: float | None = None
    """Seconds from the call to the first output of a stream."""
    warnings: tuple[CallWarning, ...] = ()
    trace: CallTrace = field(default=_UNTOLD, repr=False)
    """What was tried; set on every answer of the service."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False
    object: ObjectT = _NO_OBJECT
    """The validated object, where one was asked for."""
    request_id: str | None = None
    refusal: str | None = None
    """The model's own words where it refused; `finish_reason` is then `refusal`."""
    raw: Any = field(default=None, repr=False)
    """The provider's decoded answer; `None` for streams."""

    @property
    def content(self) -> str:
        """The text of the answer."""
        return "".join([part.text for part in self.parts if part.type == "text"])

    @property
    def thinking(self) -> str:
        """The readable reasoning, empty where there is none."""
        return "".join([part.text for part in self.parts if part.type == "thinking"])

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools the model asks for, in order."""
        return tuple([part for part in self.parts if isinstance(part, ToolCall)])

    @property
    def message(self) -> Message:
        """The answer as a message, to be appended to the conversation."""
        calls = self.tool_calls
        return Message(
            "assistant", tuple(part for part in self.parts if not isinstance(part, ToolCall)), tool_calls=calls
        )


@dataclass(frozen=True, slots=True)
class StreamStart:
    """The provider has begun to answer; comes exactly once, before everything else, and again after a reset."""

    model: str = ""
    provider: str = ""
    request_id: str | None = None
    text: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of the reasoning."""

    thinking: str
    signature: str | None = field(default=None, repr=False)
    redacted: str | None = field(default=None, repr=False)
    text: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call while its arguments are being written; `index` tells parallel calls apart."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    text: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class ToolCallReady:
    """A tool call is complete."""

    index: int
    call: ToolCall
    text: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """A piece of the model's refusal."""

    refusal: str
    text: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The tokens used so far, cumulative; the last report counts."""

    usage: Usage
    text: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class StreamFinish:
    """The answer is complete; comes exactly once, after everything else."""

    finish_reason: FinishReason
    text: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class StreamReset:
    """Everything before is void: the stream broke, and the answer begins again from nothing, with its `StreamStart`.

    Comes only where the route allows it: `mid_stream: restart`.
    """

    reason: str
    """How it broke: the code of the error, else its type."""
    target: ModelRef
    """Who answers now."""
    text: ClassVar[str] = ""


StreamEvent = (
    StreamStart
    | TextDelta
    | ThinkingDelta
    | ToolCallDelta
    | ToolCallReady
    | RefusalDelta
    | UsageReport
    | StreamReset
    | StreamFinish
)

OUTPUT_EVENTS = (TextDelta, ThinkingDelta, ToolCallDelta, ToolCallReady, RefusalDelta)
"""Events that a user can see. The first of them commits the call: nothing is repeated after it."""

STREAM_EVENTS = (*OUTPUT_EVENTS, StreamStart, UsageReport, StreamFinish, StreamReset)
"""All of `StreamEvent`."""


@dataclass(slots=True)
class EmbeddingResponse:
    """One vector per input, in the order of the inputs."""

    vectors: tuple[tuple[float, ...], ...]
    model: str = ""
    provider: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: Cost | None = None
    duration: float = 0.0
    trace: CallTrace = field(default=_UNTOLD, repr=False)
    warnings: tuple[CallWarning, ...] = ()

    @property
    def dimensions(self) -> int:
        """Length of each vector."""
        return len(self.vectors[0]) if self.vectors else 0

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return iter(self.vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, index: int) -> tuple[float, ...]:
        return self.vectors[index]


class ResponseCollector:
    """Adds the events of one stream up to the answer they amount to."""

    __slots__ = (
        "_kind",
        "_parts",
        "_pieces",
        "_redacted",
        "_signature",
        "_unfinished",
        "finish",
        "refusal",
        "start",
        "usage",
    )

    def __init__(self) -> None:
        self._parts: list[AnswerPart] = []
        self._pieces: list[str] = []
        self._kind = ""
        self._signature: str | None = None
        self._redacted: str | None = None
        self._unfinished: dict[int, list[str]] = {}
        self.start: StreamStart | None = None
        self.usage: Usage | None = None
        self.finish: FinishReason | None = None
        self.refusal = ""

    def add(self, event: StreamEvent) -> None:
        """Take one event into account."""
        if event.__class__ is TextDelta:
            if self._kind != "text":
                self._flush("text")
            self._pieces.append(event.text)
        elif isinstance(event, ThinkingDelta):
            if self._kind != "thinking" or self._begins_another(event):
                self._flush("thinking")
            self._pieces.append(event.thinking)
            self._signature = event.signature or self._signature
            self._redacted = event.redacted or self._redacted
        elif isinstance(event, ToolCallDelta):
            self._unfinished.setdefault(event.index, []).append(event.name + event.arguments)
        elif isinstance(event, ToolCallReady):
            self._flush("")
            self._parts.append(event.call)
            self._unfinished.pop(event.index, None)
        elif isinstance(event, UsageReport):
            self.usage = event.usage
        elif isinstance(event, StreamFinish):
            self.finish = event.finish_reason
        elif isinstance(event, RefusalDelta):
            self.refusal += event.refusal
        elif isinstance(event, StreamStart):
            self.start = event
        elif isinstance(event, StreamReset):
            self.__init__()  # type: ignore[misc]  # as new: whoever holds the collector keeps it
        else:
            raise TypeError("this is no event of a stream")

    def _begins_another(self, event: ThinkingDelta) -> bool:
        """Whether *event* belongs to another piece of thinking: the one before is closed by its opaque data."""
        if self._signature is None and self._redacted is None:
            return False
        if event.thinking:
            return True
        if event.signature is not None:
            return event.signature != self._signature
        return event.redacted is not None

    def _flush(self, next_kind: str) -> None:
        if self._kind == "text" and self._pieces:
            self._parts.append(TextPart("".join(self._pieces)))
        elif self._kind == "thinking" and (self._pieces or self._redacted or self._signature):
            provider = self.start.provider if self.start else None
            self._parts.append(ThinkingPart("".join(self._pieces), self._signature, self._redacted, provider))
        self._pieces, self._kind, self._signature, self._redacted = [], next_kind, None, None

    def text(self) -> str:
        """The text of the answer so far. Looking changes nothing, unlike `parts` and `partial`."""
        said = [part.text for part in self._parts if isinstance(part, TextPart)]
        return "".join(said + self._pieces if self._kind == "text" else said)

    @property
    def characters(self) -> int:
        """How much has been said so far, thinking included, tool calls left out."""
        whole = sum(len(part.text) for part in self._parts if not isinstance(part, ToolCall))
        return whole + sum(map(len, self._pieces))

    def parts(self) -> tuple[AnswerPart, ...]:
        """The parts so far, pieces joined."""
        self._flush("")
        return tuple(self._parts)

    def partial(self) -> PartialOutput:
        """What has been delivered so far."""
        parts = self.parts()
        return PartialOutput(
            text="".join([part.text for part in parts if isinstance(part, TextPart)]),
            thinking="".join([part.text for part in parts if isinstance(part, ThinkingPart)]),
            tool_calls=tuple([part for part in parts if isinstance(part, ToolCall)]),
            usage=self.usage,
            refusal=self.refusal,
            unfinished_calls="".join([piece for pieces in self._unfinished.values() for piece in pieces]),
        )

    def response(self) -> LLMResponse:
        """The whole answer; only once the stream has finished."""
        if self.finish is None:
            raise RuntimeError("the stream has not finished: there is no complete response")
        start = self.start or StreamStart()
        return LLMResponse(
            self.parts(),
            self.finish,
            start.model,
            start.provider,
            self.usage or Usage(estimated=True),
            request_id=start.request_id,
            refusal=self.refusal or None,
        )
