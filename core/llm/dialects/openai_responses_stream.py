"""Streamed answers of the Responses format.

The type inside each event counts, since some servers send no `event:` lines. `response.completed` and
`response.incomplete` end the answer and bring the usage; events of a kind that is not known say nothing about the text.
"""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.dialects.errors import classify, error_of, is_error
from core.llm.dialects.event_decoder import events_of
from core.llm.dialects.json import parse_object, schema_error
from core.llm.dialects.openai_event_stream import OpenAIEventDecoder
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses_decode import (
    call_of,
    decode_response,
    finish_of,
    parts_of,
    phase_of,
    reasoning_texts,
    refusals_of,
)
from core.llm.dialects.openai_usage import usage_from_openai
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


class _Item:
    """One output item that is being written."""

    __slots__ = ("arguments", "call", "call_number", "delivered", "done")

    def __init__(self) -> None:
        self.call: Mapping[str, Any] | None = None
        self.call_number = 0
        self.arguments: list[str] = []
        self.delivered = False
        self.done = False


class ResponsesStreamDecoder(OpenAIEventDecoder):
    """One stream. `done` is set by the event that ends the answer, or by `[DONE]`."""

    __slots__ = ("_calls", "_items", "_last", "_refused")

    def __init__(self, request: ChatRequest, quirks: OpenAIQuirks, headers: Mapping[str, str]) -> None:
        super().__init__(request, quirks, headers)
        self._items: dict[object, _Item] = {}
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
            raise classify(error_of(inner if inner.get("error") else {"error": inner}), billing=self._billing())
        if not self._started:
            response = event.get("response")
            self._start(response.get("model") if isinstance(response, Mapping) else None, events)
        match kind:
            case "response.output_item.added":
                self._added(event, events)
            case "response.output_item.done":
                self._done(event, events)
            case "response.function_call_arguments.delta":
                self._arguments(event, events)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._thinking(event, events)
            case "response.reasoning_summary_part.added" if event.get("summary_index"):
                # Each part of a summary is a part of its own when the item goes back.
                self._output = True
                events.append(ThinkingDelta("", _string(event.get("item_id")) or None))
            case "response.refusal.delta":
                self._refusal(event, events)
            case _ if kind in _ENDINGS:
                self._ending(kind, event, events)

    def _item(self, event: Mapping[str, Any]) -> _Item:
        """The item that *event* is about: by its place, since some gateways give it a new id in every event."""
        key = event.get("output_index")
        if key.__class__ is not int:
            inner = event.get("item")
            key = _string(event.get("item_id")) or (_string(inner.get("id")) if isinstance(inner, Mapping) else "")
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item()
        return item

    def _text(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if not self._started:
            self._start(None, events)
        text = event.get("delta")
        if text.__class__ is not str:
            raise schema_error("a piece of text is no text")
        if text:
            self._item(event).delivered = True
            self._output = True
            self._visible += len(text)
            events.append(TextDelta(text))

    def _thinking(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if text := _string(event.get("delta")):
            self._item(event).delivered = True
            self._output = True
            events.append(ThinkingDelta(text))

    def _refusal(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if text := _string(event.get("delta")):
            self._item(event).delivered = True
            self._refused = self._output = True
            events.append(RefusalDelta(text))

    def _added(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        inner = event.get("item")
        if not isinstance(inner, dict):
            raise schema_error("an output item is not an object")
        if inner.get("type") == "message" and (marker := phase_of(inner)) is not None:
            events.append(ThinkingDelta("", marker))
        elif inner.get("type") == "function_call":
            item = self._item(event)
            self._begin_call(item, inner, events)

    def _begin_call(self, item: _Item, inner: Mapping[str, Any], events: list[StreamEvent]) -> None:
        item.call = inner
        item.call_number = self._calls
        self._calls += 1
        self._output = True
        identifier = _string(inner.get("call_id")) or _string(inner.get("id"))
        events.append(ToolCallDelta(item.call_number, identifier, _string(inner.get("name"))))

    def _arguments(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        item, text = self._item(event), _string(event.get("delta"))
        if item.call is None:
            raise schema_error("arguments came before any tool call")
        if text:
            item.arguments.append(text)
            events.append(ToolCallDelta(item.call_number, arguments=text))

    def _done(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        inner = event.get("item")
        if not isinstance(inner, dict):
            raise schema_error("an output item is not an object")
        self._finish_item(self._item(event), inner, events)

    def _finish_item(self, item: _Item, inner: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if item.done:
            return
        item.done = True
        match inner.get("type"):
            case "function_call":
                self._ready(item, inner, events)
            case "reasoning":
                self._reasoned(item, inner, events)
            case "message" if not item.delivered:
                self._said(inner, events)

    def _ready(self, item: _Item, inner: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if item.call is None:
            self._begin_call(item, inner, events)
        merged = {**(item.call or {}), **{key: value for key, value in inner.items() if value}}
        call = call_of(merged, str(item.call_number), "".join(item.arguments))
        events.append(ToolCallReady(item.call_number, call))

    def _reasoned(self, item: _Item, inner: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """What identifies a piece of reasoning comes with its end."""
        identifier = _string(inner.get("id")) or None
        encrypted = _string(inner.get("encrypted_content")) or None
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
        output = response.get("output")
        if not self._items and isinstance(output, list):
            for number, inner in enumerate(output):
                if isinstance(inner, dict):
                    self._finish_item(self._item({"output_index": number}), inner, events)
        self._last = {**response, "status": response.get("status") or _ENDINGS[kind]}
        self._complete(events)

    def _close(self, events: list[StreamEvent]) -> None:
        for item in self._items.values():
            if item.call is not None and not item.done:
                self._ready(item, item.call, events)
                item.done = True
        end = self._last if self._last is not None else {}
        finish = finish_of(
            end,
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


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
