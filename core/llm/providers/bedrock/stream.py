"""Streamed answers of Converse: frames of the AWS event stream, each with one JSON object.

The reason to stop comes first (`messageStop`), the usage after it (`metadata`); errors come as frames of their own.
"""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.common.types import FinishReason
from core.llm.dialects.aws_event_stream import EventFrame, EventStreamSplitter
from core.llm.dialects.json import encode_json, parse_object, schema_error
from core.llm.dialects.json_body import not_json
from core.llm.dialects.lost_parts import report_lost
from core.llm.dialects.stream_decoder import AnswerDecoder
from core.llm.dialects.tool_names import bare_name
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import (
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)
from core.llm.providers.bedrock.decode import finish_from_converse, finish_of_answer, usage_from_converse
from core.llm.providers.bedrock.errors import error_from_frame, request_id
from core.llm.providers.bedrock.naming import tool_names_back
from core.llm.providers.bedrock.structured import answer_tool

EVENT_STREAM: Final = "application/vnd.amazon.eventstream"


class _OpenCall:
    """A tool call whose arguments are still being written."""

    __slots__ = ("arguments", "id", "name", "number")

    def __init__(self, number: int, identifier: str, name: str) -> None:
        self.number = number
        self.id = identifier
        self.name = name
        self.arguments: list[str] = []


class ConverseStreamDecoder(AnswerDecoder):
    """One stream. `done` is set by the usage, which comes last; `finished` already by the reason to stop."""

    __slots__ = (
        "_answer_tool",
        "_answered",
        "_calls",
        "_count",
        "_finish",
        "_held",
        "_names",
        "_output",
        "_received",
        "_request",
        "_splitter",
        "_started",
    )

    def __init__(self, request: ChatRequest, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self._request = request
        self._splitter = EventStreamSplitter()
        self._names = tool_names_back(tool.name for tool in request.params.tools or ())
        self._calls: dict[Any, _OpenCall] = {}
        # Where the answer is asked for as the arguments of a tool, words beside it are not part of it.
        self._answer_tool = answer_tool(request)
        self._answered = False
        self._held: list[str] = []
        self._count = 0
        self._received = False
        self._started = False
        self._output = False
        self._finish: FinishReason | None = None

    def _has_started(self) -> bool:
        return self._started

    def _has_output(self) -> bool:
        return self._output

    def _has_finish(self) -> bool:
        return self._finish is not None

    def _take(self, data: bytes, events: list[StreamEvent]) -> None:
        if data and not self._received:
            self._received = True
            self._check_label(data)
        for frame in self._splitter.feed(data):
            self._frame(frame, events)
            if self.done:
                break

    def _end(self, events: list[StreamEvent]) -> None:
        if self._finish is None:
            raise self._incomplete(self._splitter.rest)
        events.append(StreamFinish(self._finish))

    def _check_label(self, data: bytes) -> None:
        """A web page or a JSON text in place of a stream is named as what it is."""
        label = self._headers.get("content-type", EVENT_STREAM)
        if EVENT_STREAM not in label and data.lstrip()[:1] in {b"<", b"{", b"["}:
            raise not_json(data, self._headers)

    def _frame(self, frame: EventFrame, events: list[StreamEvent]) -> None:
        kind = frame.word(":message-type")
        if kind == "exception":
            raise self._failed(frame.word(":exception-type"), frame.payload)
        if kind == "error":
            raise self._failed(frame.word(":error-code"), _message_of(frame))
        match frame.word(":event-type"):
            case "contentBlockDelta":
                self._delta(parse_object(frame.payload), events)
            case "contentBlockStart":
                self._block_start(parse_object(frame.payload), events)
            case "contentBlockStop":
                self._block_stop(_place(parse_object(frame.payload)), events)
            case "messageStart":
                self._start(events)
            case "messageStop":
                self._stop(parse_object(frame.payload), events)
            case "metadata":
                self._metadata(parse_object(frame.payload), events)
            case _:
                # Kinds that AWS adds later.
                pass

    def _failed(self, name: str, payload: bytes) -> ProviderError:
        error = error_from_frame(name, payload, self._billing())
        error.request_id = error.request_id or request_id(self._headers)
        return error

    def _start(self, events: list[StreamEvent]) -> None:
        if not self._started:
            self._started = True
            events.append(StreamStart(request_id=request_id(self._headers)))

    def _emit(self, event: StreamEvent, events: list[StreamEvent]) -> None:
        if not self._started:
            self._start(events)
        self._output = True
        events.append(event)

    def _block_start(self, payload: Mapping[str, Any], events: list[StreamEvent]) -> None:
        start = payload.get("start")
        call = start.get("toolUse") if isinstance(start, Mapping) else None
        if not isinstance(call, Mapping):
            return
        identifier, name = call.get("toolUseId"), call.get("name")
        if not isinstance(identifier, str) or not isinstance(name, str) or not name:
            raise schema_error("a tool call has no name or id")
        name = bare_name(name)
        opened = _OpenCall(self._count, identifier, self._names.get(name, name))
        self._count += 1
        place = _place(payload)
        if place in self._calls:
            raise schema_error("two tool calls have one place")
        self._calls[place] = opened
        if opened.name == self._answer_tool:
            self._answered = True
        else:
            self._emit(ToolCallDelta(opened.number, identifier, opened.name), events)

    def _delta(self, payload: Mapping[str, Any], events: list[StreamEvent]) -> None:
        delta = payload.get("delta")
        if not isinstance(delta, Mapping):
            raise schema_error("a delta is not an object")
        text = delta.get("text")
        if isinstance(text, str):
            # An empty first piece stands where a model thinks before it writes.
            if text and self._answer_tool is not None:
                self._held.append(text)
            elif text:
                self._emit(TextDelta(text), events)
        elif isinstance(call := delta.get("toolUse"), Mapping):
            opened = self._calls.get(_place(payload))
            piece = call.get("input")
            if isinstance(piece, dict):
                piece = encode_json(piece).decode()
            if opened is None or not isinstance(piece, str):
                raise schema_error("a piece of a tool call belongs to none")
            if piece:
                opened.arguments.append(piece)
                is_answer = opened.name == self._answer_tool
                self._emit(TextDelta(piece) if is_answer else ToolCallDelta(opened.number, arguments=piece), events)
        elif isinstance(reasoning := delta.get("reasoningContent"), Mapping):
            self._thinking(reasoning, events)
        elif "image" in delta:
            self._output = True
            report_lost(self._request, "image")

    def _thinking(self, reasoning: Mapping[str, Any], events: list[StreamEvent]) -> None:
        text, signature, redacted = (reasoning.get(name) for name in ("text", "signature", "redactedContent"))
        if isinstance(text, str) and text:
            self._emit(ThinkingDelta(text), events)
        if isinstance(signature, str) and signature:
            self._emit(ThinkingDelta("", signature=signature), events)
        if isinstance(redacted, str) and redacted:
            self._emit(ThinkingDelta("", redacted=redacted), events)

    def _block_stop(self, index: object, events: list[StreamEvent]) -> None:
        opened = self._calls.pop(index, None)
        if opened is None:
            return
        if opened.name != self._answer_tool:
            call = ToolCall.from_text(opened.id, opened.name, "".join(opened.arguments))
            self._emit(ToolCallReady(opened.number, call), events)
        elif not opened.arguments:
            self._emit(TextDelta("{}"), events)

    def _stop(self, payload: Mapping[str, Any], events: list[StreamEvent]) -> None:
        for index in tuple(self._calls):
            self._block_stop(index, events)
        if self._held and not self._answered:
            self._emit(TextDelta("".join(self._held)), events)
        self._finish = finish_from_converse(payload.get("stopReason"), has_output=self._output, billing=self._billing())
        if self._answered:
            self._finish = finish_of_answer(self._finish)
        self._start(events)

    def _metadata(self, payload: Mapping[str, Any], events: list[StreamEvent]) -> None:
        usage, warning = usage_from_converse(payload.get("usage"))
        if warning is not None:
            self._request.warnings.append(warning)
        if not usage.estimated:
            self._start(events)
            events.append(UsageReport(usage))
        # Only the last frame counts as the end: usage without a reason to stop is no whole answer.
        if self._finish is not None:
            self._end(events)
            self.done = True


def _place(payload: Mapping[str, Any]) -> int | None:
    index = payload.get("contentBlockIndex")
    return index if type(index) is int else None


def _message_of(frame: EventFrame) -> bytes:
    return frame.payload or frame.word(":error-message").encode()
