"""Streamed answers of the OpenAI chat format.

Terminal markers are a finish reason and `[DONE]`; either one is enough. After the finish reason the decoder goes on to
`[DONE]` or the end of the body, because the usage comes last.
"""

from collections.abc import Mapping
from typing import Any

from core.llm.dialects.errors import is_error
from core.llm.dialects.event_decoder import events_of
from core.llm.dialects.json import parse_object, schema_error
from core.llm.dialects.lost_parts import report_lost
from core.llm.dialects.openai_content import (
    check_finish,
    finish_from_openai,
    first_of,
    is_first,
    lost_in,
    text_of,
    thoughts_of,
)
from core.llm.dialects.openai_decode import decode_answer
from core.llm.dialects.openai_event_stream import OpenAIEventDecoder
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_tool_calls import ToolCallAssembler
from core.llm.dialects.openai_usage import usage_from_openai
from core.llm.dialects.think_tags import ThinkTagSplitter
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import (
    RefusalDelta,
    StreamEvent,
    StreamFinish,
    TextDelta,
    ThinkingDelta,
    UsageReport,
)


class OpenAIStreamDecoder(OpenAIEventDecoder):
    """One stream. `done` is set by `[DONE]`; `finished` already by the finish reason."""

    __slots__ = ("_calls", "_finish", "_id", "_refused", "_tags", "_tier", "_usage")

    def __init__(self, request: ChatRequest, quirks: OpenAIQuirks, headers: Mapping[str, str]) -> None:
        super().__init__(request, quirks, headers)
        self._id = ""
        self._finish: str | None = None
        self._usage: Any = None
        self._tier: Any = None
        self._calls = ToolCallAssembler(request.provider)
        self._tags = ThinkTagSplitter() if quirks.think_tags else None
        self._refused = False

    def _has_finish(self) -> bool:
        return self._finish is not None

    def _whole(self, body: bytes, events: list[StreamEvent]) -> None:
        events.extend(events_of(decode_answer(self._request, self._quirks, self._headers, body)))

    def _event(self, name: bytes, payload: bytes, events: list[StreamEvent]) -> None:
        chunk = parse_object(payload)
        if "error" in chunk or "choices" not in chunk:
            self._check_error(name, chunk)
        usage = chunk.get("usage")
        if usage:
            self._usage = usage
            self._tier = chunk.get("service_tier") or self._tier
        elif "x_groq" in chunk:
            self._groq(chunk["x_groq"])
        choices = chunk.get("choices")
        if not choices:
            # Azure opens with filter results only, and the usage follows the last choice: neither is output.
            return
        if choices.__class__ is not list or choices[0].__class__ is not dict:
            raise schema_error("choices is not a list of objects")
        choice = choices[0] if len(choices) == 1 else first_of(choices)
        if not self._started:
            identifier = chunk.get("id")
            self._id = identifier if isinstance(identifier, str) else ""
            self._start(chunk.get("model"), events)
        if choice.get("index") and not is_first(choice):
            return
        delta = self._said(choice)
        if delta:
            if delta.__class__ is not dict:
                raise schema_error("a delta is not an object")
            self._delta(delta, events)
        finish = choice.get("finish_reason")
        # Some servers send an empty word with every chunk: that is no reason yet.
        if finish and finish.__class__ is str:
            self._finish = finish
            if choice.get("error"):
                raise self._failed(choice)
            self._usage = self._usage or choice.get("usage")

    def _said(self, choice: dict[str, Any]) -> Any:
        """What *choice* adds to the answer; some servers stream whole messages."""
        delta = choice.get("delta")
        return choice.get("message") if delta is None else delta

    def _delta(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        content = delta.get("content")
        if content.__class__ is not str:
            self._think(delta, events)
            if content:
                self._text(text_of(content), events)
        else:
            if delta.get("reasoning_content") or delta.get("reasoning") or delta.get("reasoning_details"):
                self._think(delta, events)
            if content:
                self._text(content, events)
            if len(delta) == 1:
                return
        if content.__class__ is list or "audio" in delta or "images" in delta:
            for kind in lost_in(delta):
                self._output = True
                report_lost(self._request, kind)
        pieces = delta.get("tool_calls")
        if pieces:
            self._output = True
            self._calls.add(pieces, events)
        legacy = delta.get("function_call")
        if legacy:
            self._output = True
            self._calls.add([{"index": 0, "function": legacy}], events)
        refusal = delta.get("refusal")
        if refusal.__class__ is str and refusal:
            self._refused = self._output = True
            events.append(RefusalDelta(refusal))

    def _text(self, text: str, events: list[StreamEvent]) -> None:
        if self._tags is not None:
            thinking, text = self._tags.feed(text)
            if thinking:
                self._output = True
                events.append(ThinkingDelta(thinking))
        if text:
            self._visible += len(text)
            self._output = True
            events.append(TextDelta(text))

    def _think(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        for thought in thoughts_of(delta):
            self._output = True
            events.append(ThinkingDelta(thought.text, thought.signature, thought.redacted))

    def _groq(self, extra: object) -> None:
        if isinstance(extra, Mapping):
            if extra.get("error"):
                raise self._failed(extra)
            self._usage = extra.get("usage") or self._usage

    def _check_error(self, name: bytes, chunk: Mapping[str, Any]) -> None:
        """Raise for an error object; other chunks without choices are lifecycle notes."""
        if (
            name == b"error"
            or is_error(chunk)
            or ("choices" not in chunk and ("message" in chunk or "detail" in chunk))
        ):
            raise self._failed(chunk)

    def _close(self, events: list[StreamEvent]) -> None:
        check_finish(self._finish, has_output=self._output, billing=self._billing())
        if self._tags is not None:
            thinking, text = self._tags.end()
            if thinking:
                events.append(ThinkingDelta(thinking))
            if text:
                events.append(TextDelta(text))
        self._calls.finish(self._id, events)
        if self._usage is not None:
            usage, warning = usage_from_openai(self._usage, self._visible, self._tier)
            if warning is not None:
                self._request.warnings.append(warning)
            events.append(UsageReport(usage))
        events.append(
            StreamFinish(finish_from_openai(self._finish, has_calls=self._calls.any, has_refusal=self._refused))
        )
