"""Streamed answers of the Messages format.

An answer is complete with `message_stop`; the reason for stopping in `message_delta` is enough when the body ends after
it. An `error` event may come at any time, with a status of 200 before it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from core.llm.common.messages import ToolCall
from core.llm.dialects.anthropic_blocks import carried
from core.llm.dialects.anthropic_decode import decode_answer, made_up_id, placed_id, with_caller
from core.llm.dialects.anthropic_finish import finish_from_anthropic, refusal_text, text_field
from core.llm.dialects.anthropic_quirks import AnthropicQuirks
from core.llm.dialects.anthropic_tools import answer_tool
from core.llm.dialects.anthropic_usage import usage_from_anthropic
from core.llm.dialects.errors import classify, error_of, is_error, request_id
from core.llm.dialects.event_decoder import EventDecoder, events_of
from core.llm.dialects.json import parse_object, schema_error
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import (
    RefusalDelta,
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)

_PLAIN: Final = 0
_TOOL: Final = 1
_ANSWER: Final = 2
_OTHER: Final = 3


class _Open:
    """A content block that is being written."""

    __slots__ = ("block", "id", "kind", "name", "number", "pieces")

    def __init__(self, kind: int, block: dict[str, Any]) -> None:
        self.kind = kind
        self.block = block
        self.number = 0
        self.id = text_field(block, "id")
        self.name = text_field(block, "name")
        self.pieces: list[str] = []


class AnthropicStreamDecoder(EventDecoder):
    """One stream. `done` is set by `message_stop` or a failure; `finished` already by the reason for stopping."""

    __slots__ = (
        "_answer_name",
        "_answered",
        "_blocks",
        "_calls",
        "_counted",
        "_finish",
        "_id",
        "_output",
        "_quirks",
        "_refusal",
        "_request",
        "_started",
        "_usage",
    )

    def __init__(self, request: ChatRequest, quirks: AnthropicQuirks, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self._request = request
        self._quirks = quirks
        self._started = False
        self._id = ""
        self._output = False
        self._answer_name = answer_tool(request, quirks)
        self._answered = False
        self._blocks: dict[int, _Open] = {}
        self._calls = 0
        self._finish: str | None = None
        self._refusal: str | None = None
        self._usage: dict[str, Any] = {}
        self._counted = False

    def _has_started(self) -> bool:
        return self._started

    def _has_output(self) -> bool:
        return self._output

    def _has_finish(self) -> bool:
        return self._finish is not None

    def _whole(self, body: bytes, events: list[StreamEvent]) -> None:
        events.extend(events_of(decode_answer(self._request, self._quirks, self._headers, body)))

    def _event(self, name: bytes, payload: bytes, events: list[StreamEvent]) -> None:
        event = parse_object(payload)
        kind = event.get("type")
        if kind == "content_block_delta":
            self._delta(event, events)
            return
        match kind:
            case "content_block_start":
                self._begin(event, events)
            case "content_block_stop":
                block = self._blocks.pop(_index(event), None)
                if block is not None:
                    self._close(block, events)
            case "message_start":
                self._start(event, events)
            case "message_delta":
                self._message_delta(event)
            case "message_stop":
                self._complete(events)
            case "ping":
                return
            case _ if name == b"error" or kind == "error" or is_error(event):
                raise placed_id(classify(error_of(event), headers=self._headers, billing=self._billing()), event)

    def _start(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        message = event.get("message")
        if not isinstance(message, dict):
            raise schema_error("message_start has no message")
        if self._started:
            if text_field(message, "id") == self._id and not self._output:
                return
            raise schema_error("a second message began in the same stream")
        self._started = True
        self._id = text_field(message, "id")
        events.append(StreamStart(text_field(message, "model"), request_id=request_id(self._headers)))
        self._add_usage(message.get("usage"))
        if self._usage:
            # Whoever receives only a part of the answer still knows what the prompt cost.
            events.append(UsageReport(replace(usage_from_anthropic(self._usage)[0], estimated=True)))
        content = message.get("content")
        for number, block in enumerate(content if isinstance(content, list) else ()):
            # Where code on the server goes on, whole blocks are there from the beginning.
            place = {"index": -1 - number, "content_block": block}
            self._begin(place, events)
            self._close(self._blocks.pop(_index(place)), events)
        self._finish = text_field(message, "stop_reason") or None

    def _begin(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if not self._started:
            raise schema_error("content came before message_start")
        block = event.get("content_block")
        if not isinstance(block, dict):
            raise schema_error("content_block_start has no block")
        index = _index(event)
        if index in self._blocks:
            raise schema_error("a content block began twice")
        kind = block.get("type")
        if kind == "text":
            opened = _Open(_PLAIN, block)
            if text := text_field(block, "text"):
                self._output = True
                events.append(TextDelta(text))
        elif kind == "thinking":
            opened = _Open(_PLAIN, block)
            text, signature = text_field(block, "thinking"), text_field(block, "signature")
            if text or signature:
                self._output = True
                events.append(ThinkingDelta(text, signature or None))
        elif kind == "tool_use":
            opened = self._begin_tool(block, events)
        else:
            opened = _Open(_OTHER, block)
        self._blocks[index] = opened

    def _begin_tool(self, block: dict[str, Any], events: list[StreamEvent]) -> _Open:
        self._output = True
        if self._answer_name is not None and block.get("name") == self._answer_name:
            self._answered = True
            return _Open(_ANSWER, block)
        opened = _Open(_TOOL, block)
        if not opened.name:
            raise schema_error("a tool call has no name")
        opened.number = self._calls
        opened.id = opened.id or made_up_id(f"{self._id}:{opened.number}", opened.name)
        self._calls += 1
        events.append(ToolCallDelta(opened.number, opened.id, opened.name))
        return opened

    def _delta(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        delta = event.get("delta")
        block = self._blocks.get(_index(event))
        if block is None or delta.__class__ is not dict:
            raise schema_error("a delta belongs to no content block")
        kind = delta.get("type")
        if kind == "text_delta":
            text = delta.get("text")
            if text.__class__ is str and text:
                self._output = True
                events.append(TextDelta(text))
        elif kind == "input_json_delta":
            self._add_input(block, text_field(delta, "partial_json"), events)
        elif kind == "thinking_delta":
            if text := text_field(delta, "thinking"):
                self._output = True
                events.append(ThinkingDelta(text))
        elif kind == "signature_delta":
            if signature := text_field(delta, "signature"):
                self._output = True
                events.append(ThinkingDelta("", signature))
        elif block.kind == _OTHER:
            block.block.update({name: value for name, value in delta.items() if name != "type" and value is not None})

    def _add_input(self, block: _Open, piece: str, events: list[StreamEvent]) -> None:
        if not piece:
            return
        if block.kind == _ANSWER:
            events.append(TextDelta(piece))
        elif block.kind == _TOOL:
            events.append(ToolCallDelta(block.number, arguments=piece))
        block.pieces.append(piece)

    def _close(self, block: _Open, events: list[StreamEvent]) -> None:
        """The block is complete."""
        given = block.block.get("input")
        if block.kind == _TOOL:
            text = "".join(block.pieces)
            if text or not isinstance(given, dict):
                call = ToolCall.from_text(block.id, block.name, text)
            else:
                call = ToolCall(block.id, block.name, given)
                if given:
                    events.append(ToolCallDelta(block.number, arguments=call.arguments_json()))
            events.append(ToolCallReady(block.number, with_caller(call, block.block, self._request.provider)))
        elif block.kind == _ANSWER and not block.pieces:
            events.append(TextDelta(carried(given) if isinstance(given, dict) else "{}"))
        elif block.kind == _OTHER:
            self._output = True
            events.append(ThinkingDelta("", None, self._opaque(block)))

    @staticmethod
    def _opaque(block: _Open) -> str:
        if block.block.get("type") == "redacted_thinking":
            return text_field(block.block, "data")
        if block.pieces:
            block.block["input"] = dict(ToolCall.from_text("", "server tool", "".join(block.pieces)).arguments)
        return carried(block.block)

    def _message_delta(self, event: Mapping[str, Any]) -> None:
        delta = event.get("delta")
        if isinstance(delta, dict):
            # Usage may be corrected by a later delta that gives no reason.
            self._finish = text_field(delta, "stop_reason") or self._finish
            self._refusal = refusal_text(delta.get("stop_details")) or self._refusal
        usage = event.get("usage")
        self._counted = self._counted or (isinstance(usage, dict) and usage.get("output_tokens") is not None)
        self._add_usage(usage)

    def _add_usage(self, usage: object) -> None:
        """Counts are cumulative: what is given replaces what was known."""
        if isinstance(usage, dict):
            self._usage.update({name: value for name, value in usage.items() if value is not None})

    def _complete(self, events: list[StreamEvent]) -> None:
        self.done = True
        if self._finish is None:
            raise self._incomplete(b"")
        if not self._started:
            raise schema_error("the message ended before it began")
        for block in self._blocks.values():
            self._close(block, events)
        self._blocks.clear()
        finish = finish_from_anthropic(self._finish, has_calls=bool(self._calls), answered_by_tool=self._answered)
        if finish.unified == "refusal" and self._refusal:
            events.append(RefusalDelta(self._refusal))
        if self._usage:
            usage, warning = usage_from_anthropic(self._usage)
            if warning is not None:
                self._request.warnings.append(warning)
            events.append(UsageReport(usage if self._counted else replace(usage, estimated=True)))
        events.append(StreamFinish(finish))


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("index")
    if type(index) is not int:
        raise schema_error("an event names no content block")
    return index
