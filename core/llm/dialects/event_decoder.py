"""Answers that come as server-sent events, or as one JSON text although a stream was asked for."""

from abc import abstractmethod
from collections.abc import Mapping

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.errors import ErrorBody, classify
from core.llm.dialects.framing import SSESplitter, last_event
from core.llm.dialects.json import MAX_BYTES, parse_object
from core.llm.dialects.json_body import BOM, not_json
from core.llm.dialects.stream_decoder import AnswerDecoder
from core.llm.providers.base.response import (
    LLMResponse,
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


class EventDecoder(AnswerDecoder):
    """One stream of server-sent events; what an event says is the business of a subclass."""

    __slots__ = ("_json", "_splitter", "_undecided")

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self._splitter = SSESplitter()
        self._undecided = True
        self._json: bytearray | None = None

    @abstractmethod
    def _event(self, name: bytes, payload: bytes, events: list[StreamEvent]) -> None:
        """Take one event into account; raises `ProviderError` where it is an error or cannot be read."""

    @abstractmethod
    def _whole(self, body: bytes, events: list[StreamEvent]) -> None:
        """Add the events of an answer that came as one JSON text."""

    @abstractmethod
    def _complete(self, events: list[StreamEvent]) -> None:
        """Set `done` and add the last events; raises `ProviderError` where the ending is no answer."""

    def _marker(self, events: list[StreamEvent]) -> None:
        """`[DONE]` has come. It means nothing in most formats, though proxies add it to all of them."""

    def _last_words(self, rest: bytes, events: list[StreamEvent]) -> None:
        """The body has ended too early, with *rest* behind the last event: may complete the answer, or raise."""

    def _take(self, data: bytes, events: list[StreamEvent]) -> None:
        if self._undecided:
            data = self._decide(data)
        if self._json is not None:
            self._collect(self._json, data)
            return
        for name, payload in self._splitter.feed(data):
            if payload[:1] == b"{":
                self._event(name, payload, events)
            else:
                self._other(name, payload, events)
            if self.done:
                break

    def _other(self, name: bytes, payload: bytes, events: list[StreamEvent]) -> None:
        """Take an event into account whose data does not begin like a JSON object."""
        if is_end_mark(payload):
            self._marker(events)
        elif name == b"error" and payload[:1] != b"[":
            body = ErrorBody(payload.decode("utf-8", "replace"))
            raise classify(body, headers=self._headers, billing=self._billing())
        elif payload.strip():
            self._event(name, payload, events)

    def _end(self, events: list[StreamEvent]) -> None:
        if self._json is not None:
            self._whole(bytes(self._json), events)
            return
        rest = self._splitter.rest
        if rest:
            self._unended(rest, events)
        if self.done:
            return
        if self._has_finish():
            self._complete(events)
            return
        self._last_words(rest, events)
        if not self.done:
            raise self._incomplete(rest)

    def _unended(self, rest: bytes, events: list[StreamEvent]) -> None:
        """Take the last event although its blank line is missing: a JSON object tells by itself that it is whole."""
        for name, payload in last_event(rest):
            try:
                parse_object(payload)
            except ProviderError:
                return
            self._event(name, payload, events)

    def _decide(self, data: bytes) -> bytes:
        """Look at the first visible byte: JSON begins with a bracket, a page with `<`, a stream with neither."""
        data = data.removeprefix(BOM)
        first = data.lstrip()[:1]
        if not first:
            return data
        self._undecided = False
        if first in {b"{", b"["}:
            self._json = bytearray()
        elif first == b"<" or "html" in self._headers.get("content-type", ""):
            raise not_json(data, self._headers)
        return data

    @staticmethod
    def _collect(collected: bytearray, data: bytes) -> None:
        """Keep a whole JSON answer until its end; its parts may take a while to arrive."""
        collected += data
        if len(collected) > MAX_BYTES:
            raise ProviderError(
                "protocol",
                f"the answer is larger than {MAX_BYTES} bytes",
                code="too_large",
                retryable=False,
                billing="ambiguous",
            )


def is_end_mark(payload: bytes) -> bool:
    """Whether *payload* is `[DONE]`, however it is spelt."""
    return payload.strip().upper() == b"[DONE]"


def events_of(answer: LLMResponse) -> list[StreamEvent]:
    """The events of an answer that came whole."""
    events: list[StreamEvent] = [StreamStart(answer.model, request_id=answer.request_id)]
    number = 0
    for part in answer.parts:
        if part.type == "text":
            events.append(TextDelta(part.text))
        elif part.type == "thinking":
            events.append(ThinkingDelta(part.text, part.signature, part.redacted))
        else:
            events.append(ToolCallDelta(number, part.id, part.name, part.arguments_json()))
            events.append(ToolCallReady(number, part))
            number += 1
    if answer.refusal:
        events.append(RefusalDelta(answer.refusal))
    if answer.usage.raw is not None:
        events.append(UsageReport(answer.usage))
    events.append(StreamFinish(answer.finish_reason))
    return events
