"""What streamed answers of OpenAI's two chat endpoints have in common: framing, errors in the middle, the end."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Billing
from core.llm.dialects.errors import ErrorBody, classify, request_id
from core.llm.dialects.framing import SSESplitter
from core.llm.dialects.json import MAX_BYTES
from core.llm.dialects.openai_decode import not_json
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import (
    LLMResponse,
    RefusalDelta,
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallReady,
    UsageReport,
)


class OpenAIEventDecoder(ABC):
    """One stream of server-sent events, ended by `[DONE]` or by what its endpoint says in place of it."""

    __slots__ = (
        "_failure",
        "_headers",
        "_json",
        "_output",
        "_quirks",
        "_request",
        "_splitter",
        "_started",
        "_undecided",
        "_visible",
        "done",
    )

    def __init__(self, request: ChatRequest, quirks: OpenAIQuirks, headers: Mapping[str, str]) -> None:
        self._request = request
        self._quirks = quirks
        self._headers = headers
        self._splitter = SSESplitter()
        self._undecided = True
        self._json: bytearray | None = None
        self._started = False
        self._visible = 0
        self._output = False
        self._failure: ProviderError | None = None
        self.done = False

    @property
    def finished(self) -> bool:
        """True once the model has said why it stopped: the body may end here, or the connection fall silent."""
        return self._failure is None and self._has_finish()

    @abstractmethod
    def _event(self, name: bytes, payload: bytes, events: list[StreamEvent]) -> None:
        """Take one event into account; raises `ProviderError` where it is an error or cannot be read."""

    @abstractmethod
    def _has_finish(self) -> bool:
        """Whether a terminal marker other than `[DONE]` has arrived."""

    @abstractmethod
    def _close(self, events: list[StreamEvent]) -> None:
        """Add the last events of a complete answer."""

    @abstractmethod
    def _whole(self, body: bytes) -> LLMResponse:
        """The answer that came as one JSON object although a stream was asked for."""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by *data*. Never raises: an error sets `done`, and `end` raises it."""
        events: list[StreamEvent] = []
        if self.done:
            return events
        try:
            if self._undecided:
                data = self._decide(data)
            if self._json is not None:
                self._collect(data)
                return events
            for name, payload in self._splitter.feed(data):
                if payload == b"[DONE]":
                    self._complete(events)
                elif payload:
                    self._read(name, payload, events)
                if self.done:
                    break
        except ProviderError as error:
            self._failure = error
            self.done = True
        return events

    def end(self) -> list[StreamEvent]:
        """The body has ended, or `done` is set.

        Raises:
            ProviderError: `protocol` for anything unreadable (`truncated`, `empty`: there was no terminal marker);
                or the error that the provider sent in the stream.
        """
        if self._failure is not None:
            raise self._failure
        if self.done:
            return []
        if self._json is not None:
            self.done = True
            return _events_of(self._whole(bytes(self._json)))
        events: list[StreamEvent] = []
        if self._has_finish() or self._splitter.rest.strip() == b"data: [DONE]":
            self._complete(events)
            return events
        if not self._started and not self._splitter.rest:
            raise _empty()
        raise ProviderError(
            "protocol",
            "the stream ended in the middle: nothing had said that the answer was complete",
            code="truncated",
            billing=self._billing(),
        )

    def _read(self, name: bytes, payload: bytes, events: list[StreamEvent]) -> None:
        if name == b"error" and payload[:1] not in {b"{", b"["}:
            raise classify(ErrorBody(payload.decode("utf-8", "replace")), billing=self._billing())
        self._event(name, payload, events)

    def _collect(self, data: bytes) -> None:
        """Keep a whole JSON answer until its end; its parts may take a while to arrive."""
        collected = self._json
        if collected is None:
            return
        collected += data
        if len(collected) > MAX_BYTES:
            raise ProviderError(
                "protocol", f"the answer is larger than {MAX_BYTES} bytes", code="too_large", retryable=False
            )

    def _decide(self, data: bytes) -> bytes:
        """Look at the first visible byte: an answer begins with a brace, a page with `<`, a stream with neither."""
        data = data.removeprefix(b"\xef\xbb\xbf")
        first = data.lstrip()[:1]
        if not first:
            return data
        self._undecided = False
        if first in {b"{", b"["}:
            self._json = bytearray()
        elif first == b"<" or "html" in self._headers.get("content-type", ""):
            raise not_json(data, self._headers)
        return data

    def _start(self, model: object, events: list[StreamEvent]) -> None:
        self._started = True
        events.append(StreamStart(model if isinstance(model, str) else "", request_id=request_id(self._headers)))

    def _billing(self) -> Billing:
        return "estimated" if self._output else "ambiguous"

    def _complete(self, events: list[StreamEvent]) -> None:
        self.done = True
        if not self._started:
            raise _empty()
        self._close(events)


def _empty() -> ProviderError:
    return ProviderError("protocol", "the stream ended without an answer", code="empty", billing="ambiguous")


def _events_of(answer: LLMResponse) -> list[StreamEvent]:
    """The events of an answer that came as one JSON object although a stream was asked for."""
    events: list[StreamEvent] = [StreamStart(answer.model, request_id=answer.request_id)]
    number = 0
    for part in answer.parts:
        if part.type == "text":
            events.append(TextDelta(part.text))
        elif part.type == "thinking":
            events.append(ThinkingDelta(part.text, part.signature, part.redacted))
        else:
            events.append(ToolCallReady(number, part))
            number += 1
    if answer.refusal:
        events.append(RefusalDelta(answer.refusal))
    if not answer.usage.estimated:
        events.append(UsageReport(answer.usage))
    events.append(StreamFinish(answer.finish_reason))
    return events
