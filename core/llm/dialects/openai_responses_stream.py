"""Streamed answers of the Responses format.

The type inside each event counts, since some servers send no `event:` lines. `response.completed` and
`response.incomplete` end the answer and bring the usage; events of a kind that is not known say nothing about the text.
"""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.dialects.errors import is_error
from core.llm.dialects.event_decoder import events_of
from core.llm.dialects.json import parse_object, schema_error
from core.llm.dialects.lost_parts import report_lost
from core.llm.dialects.openai_event_stream import OpenAIEventDecoder
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses_decode import (
    LOST,
    call_of,
    decode_response,
    finish_of,
    parts_of,
    phase_of,
    reasoning_texts,
    refusals_of,
)
from core.llm.dialects.openai_responses_items import CALLS, Item, Items, string
from core.llm.dialects.openai_usage import usage_from_openai
from core.llm.dialects.tool_names import bare_name
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import (
    RefusalDelta,
    StreamEvent,
    StreamFinish,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)

_ENDINGS: Final = {
    "response.completed": "completed",
    "response.done": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}


class ResponsesStreamDecoder(OpenAIEventDecoder):
    """One stream. `done` is set by the event that ends the answer, or by `[DONE]`."""

    __slots__ = ("_calls", "_items", "_last", "_refused")

    def __init__(self, request: ChatRequest, quirks: OpenAIQuirks, headers: Mapping[str, str]) -> None:
        super().__init__(request, quirks, headers)
        self._items = Items()
        self._calls = 0
        self._refused = False
        self._last: Mapping[str, Any] | None = None

    def _has_finish(self) -> bool:
        return self._last is not None

    def _whole(self, body: bytes, events: list[StreamEvent]) -> None:
        events.extend(events_of(decode_response(self._request, self._headers, body)))

    def _event(self, name: bytes, payload: bytes, events: list[StreamEvent]) -> None:
        event = parse_object(payload)
        kind = event.get("type")
        if kind.__class__ is not str:
            kind = name.decode("utf-8", "replace")
        if kind == "response.output_text.delta":
            self._text(event, events)
            return
        if kind == "error" or (is_error(event) and not kind.startswith("response.")):
            inner = {key: value for key, value in event.items() if key != "type"}
            raise self._failed(inner if inner.get("error") else {"error": inner})
        if not self._started:
            response = event.get("response")
            self._start(response.get("model") if isinstance(response, Mapping) else None, events)
        match kind:
            case "response.output_item.added":
                self._added(event, events)
            case "response.output_item.done":
                self._done(event, events)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                self._arguments(event, events)
            case "response.function_call_arguments.done" | "response.custom_tool_call_input.done":
                self._all_arguments(event, events)
            case "response.output_text.done" | "response.content_part.done":
                self._all_text(event, events)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._thinking(event, events)
            case "response.reasoning_summary_part.added" if event.get("summary_index"):
                # Each part of a summary is a part of its own when the item goes back.
                self._output = True
                events.append(ThinkingDelta("", string(event.get("item_id")) or None))
            case "response.refusal.delta":
                self._refusal(event, events)
            case _ if kind in _ENDINGS:
                self._ending(kind, event, events)

    def _text(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if not self._started:
            self._start(None, events)
        text = event.get("delta")
        if text:
            if text.__class__ is not str:
                raise schema_error("a piece of text is no text")
            item = self._items.of(event)
            item.delivered, item.kind = True, "message"
            self._output = True
            self._visible += len(text)
            events.append(TextDelta(text))

    def _all_text(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """A whole part of a message: known already, unless the server sends no pieces."""
        part = event.get("part", event)
        text = string(part.get("text")) if isinstance(part, Mapping) else ""
        if text and not self._items.of(event).delivered and part.get("type") not in ("reasoning_text", "summary_text"):
            self._text({**event, "delta": text}, events)

    def _thinking(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if text := string(event.get("delta")):
            item = self._items.of(event)
            item.delivered, item.kind = True, "reasoning"
            self._output = True
            events.append(ThinkingDelta(text))

    def _refusal(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if text := string(event.get("delta")):
            item = self._items.of(event)
            item.delivered, item.kind = True, "message"
            self._refused = self._output = True
            events.append(RefusalDelta(text))

    def _added(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        inner = event.get("item")
        if not isinstance(inner, dict):
            raise schema_error("an output item is not an object")
        if inner.get("type") == "message" and (marker := phase_of(inner)) is not None:
            events.append(ThinkingDelta("", marker))
        elif string(inner.get("type")) in CALLS:
            item = self._items.of(event)
            item.describe(inner)
            self._begin_call(item, inner, events)

    def _begin_call(self, item: Item, inner: Mapping[str, Any], events: list[StreamEvent]) -> None:
        item.call = inner
        item.call_number = self._calls
        self._calls += 1
        self._output = True
        identifier = string(inner.get("call_id")) or string(inner.get("id"))
        events.append(ToolCallDelta(item.call_number, identifier, bare_name(string(inner.get("name")))))

    def _arguments(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        item, text = self._items.of(event), string(event.get("delta"))
        if item.call is None:
            raise schema_error("arguments came before any tool call")
        if text:
            item.arguments.append(text)
            events.append(ToolCallDelta(item.call_number, arguments=text))

    def _all_arguments(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """The arguments as a whole: they win over pieces."""
        item, text = self._items.of(event), string(event.get("arguments")) or string(event.get("input"))
        if item.call is not None and text:
            if not item.arguments:
                events.append(ToolCallDelta(item.call_number, arguments=text))
            item.arguments = [text]

    def _done(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        inner = event.get("item")
        if not isinstance(inner, dict):
            raise schema_error("an output item is not an object")
        self._finish_item(self._items.of(event), inner, events)

    def _finish_item(self, item: Item, inner: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if item.done:
            return
        item.done = True
        item.describe(inner)
        match inner.get("type"):
            case "function_call" | "custom_tool_call":
                self._ready(item, inner, events)
            case "reasoning":
                self._reasoned(item, inner, events)
            case "message" if not item.delivered:
                self._said(inner, events)
            case str(kind) if kind in LOST:
                self._output = True
                report_lost(self._request, kind)

    def _ready(self, item: Item, inner: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if item.call is None:
            self._begin_call(item, inner, events)
        merged = {**(item.call or {}), **{key: value for key, value in inner.items() if value}}
        written = "".join(item.arguments)
        if self._last is None and not (merged.get("arguments") or merged.get("input") or written):
            # Not one letter of its arguments: the last event may know them.
            item.call, item.done = merged, False
            return
        call = call_of(merged, str(item.call_number), written)
        events.append(ToolCallReady(item.call_number, call))

    def _reasoned(self, item: Item, inner: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """What identifies a piece of reasoning comes with its end."""
        identifier = string(inner.get("id")) or None
        encrypted = string(inner.get("encrypted_content")) or None
        texts = [] if item.delivered else reasoning_texts(inner)
        if not (texts or encrypted or item.delivered):
            return
        self._output = True
        events.extend(ThinkingDelta(text, identifier) for text in texts[:-1])
        events.append(ThinkingDelta(texts[-1] if texts else "", identifier, encrypted))

    def _said(self, inner: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """A message that came whole instead of in pieces."""
        for part in parts_of(inner, self._request.provider, ""):
            if part.type == "text":
                self._visible += len(part.text)
                self._output = True
                events.append(TextDelta(part.text))
        for refusal in refusals_of(inner):
            self._refused = self._output = True
            events.append(RefusalDelta(refusal))

    def _ending(self, kind: str, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        response = event.get("response")
        if not isinstance(response, dict):
            raise schema_error("the last event holds no response")
        status, output = response.get("status"), response.get("output")
        # The event says that it is over; a status that says otherwise was not brought up to date.
        ended = status if status and status not in ("queued", "in_progress") else _ENDINGS[kind]
        self._last = {**response, "status": ended}
        for item, inner in self._items.settled(output if isinstance(output, list) else ()):
            self._finish_item(item, inner, events)
        self._complete(events)

    def _close(self, events: list[StreamEvent]) -> None:
        end = self._last = self._last if self._last is not None else {}
        for item in self._items:
            if item.call is not None and not item.done:
                self._ready(item, item.call, events)
                item.done = True
        finish = finish_of(
            end,
            self._headers,
            has_calls=self._calls > 0,
            has_refusal=self._refused,
            has_output=self._output,
            billing="settled" if end.get("usage") else "ambiguous",
        )
        if end.get("usage") is not None:
            usage, warning = usage_from_openai(end["usage"], self._visible, end.get("service_tier"))
            if warning is not None:
                self._request.warnings.append(warning)
            events.append(UsageReport(usage))
        events.append(StreamFinish(finish))
