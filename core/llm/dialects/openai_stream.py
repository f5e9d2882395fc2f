"""Streamed answers of the OpenAI chat format.

Terminal markers are a finish reason and `[DONE]`; either one is enough. After the finish reason the decoder goes on to
`[DONE]` or the end of the body, because the usage comes last.
"""

from collections.abc import Mapping
from typing import Any

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Billing
from core.llm.dialects.errors import ErrorBody, classify, error_of, is_error, request_id
from core.llm.dialects.framing import SSESplitter
from core.llm.dialects.json import MAX_BYTES, parse_object, schema_error
from core.llm.dialects.openai_content import check_finish, finish_from_openai, text_of, thoughts_of
from core.llm.dialects.openai_decode import decode_answer, not_json
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_tool_calls import ToolCallAssembler
from core.llm.dialects.openai_usage import usage_from_openai
from core.llm.dialects.think_tags import ThinkTagSplitter
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


class OpenAIStreamDecoder:
    """One stream. `done` is set by `[DONE]`; `finished` already by the finish reason."""

    __slots__ = (
        "_calls",
        "_failure",
        "_finish",
        "_headers",
        "_id",
        "_json",
        "_output",
        "_quirks",
        "_refused",
        "_request",
        "_splitter",
        "_started",
        "_tags",
        "_undecided",
        "_usage",
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
        self._id = ""
        self._finish: str | None = None
        self._usage: Any = None
        self._calls = ToolCallAssembler()
        self._tags = ThinkTagSplitter() if quirks.think_tags else None
        self._visible = 0
        self._output = False
        self._refused = False
        self._failure: ProviderError | None = None
        self.done = False

    @property
    def finished(self) -> bool:
        """True once the model has said why it stopped: the body may end here, or the connection fall silent."""
        return self._finish is not None and self._failure is None

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
                    break
                if payload:
                    self._event(name, payload, events)
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
            return _events_of(decode_answer(self._request, self._quirks, self._headers, bytes(self._json)))
        events: list[StreamEvent] = []
        if self._finish is not None or self._splitter.rest.strip() == b"data: [DONE]":
            self._complete(events)
            return events
        if not self._started and not self._splitter.rest:
            raise ProviderError("protocol", "the stream ended without an answer", code="empty", billing="ambiguous")
        raise ProviderError(
            "protocol",
            "the stream ended in the middle: neither a finish reason nor [DONE] had arrived",
            code="truncated",
            billing=self._billing(),
        )

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
        data = data.removeprefix(b"\xef\xbb\xbf") if self._undecided else data
        first = data.lstrip()[:1]
        if not first:
            return data
        self._undecided = False
        if first in {b"{", b"["}:
            self._json = bytearray()
        elif first == b"<" or "html" in self._headers.get("content-type", ""):
            raise not_json(data, self._headers)
        return data

    def _event(self, name: bytes, payload: bytes, events: list[StreamEvent]) -> None:
        if name == b"error" and payload[:1] not in {b"{", b"["}:
            raise classify(ErrorBody(payload.decode("utf-8", "replace")), billing=self._billing())
        chunk = parse_object(payload)
        if "error" in chunk or "choices" not in chunk:
            self._check_error(name, chunk)
        usage = chunk.get("usage")
        if usage is not None:
            self._usage = usage
        elif "x_groq" in chunk:
            self._groq(chunk["x_groq"])
        choices = chunk.get("choices")
        if not choices:
            # Azure opens with filter results only, and the usage follows the last choice: neither is output.
            return
        if choices.__class__ is not list or choices[0].__class__ is not dict:
            raise schema_error("choices is not a list of objects")
        if not self._started:
            self._start(chunk, events)
        choice = choices[0]
        if choice.get("index"):
            return
        delta = choice.get("delta")
        if delta is None:
            delta = choice.get("message")
        if delta:
            if delta.__class__ is not dict:
                raise schema_error("a delta is not an object")
            self._delta(delta, events)
        finish = choice.get("finish_reason")
        # Some servers send an empty word with every chunk: that is no reason yet.
        if finish and finish.__class__ is str:
            self._finish = finish

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
                events.append(ThinkingDelta(thinking))
        if text:
            self._visible += len(text)
            self._output = True
            events.append(TextDelta(text))

    def _think(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        for thought in thoughts_of(delta):
            self._output = True
            events.append(ThinkingDelta(thought.text, thought.signature, thought.redacted))

    def _start(self, chunk: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self._started = True
        identifier, model = chunk.get("id"), chunk.get("model")
        self._id = identifier if isinstance(identifier, str) else ""
        events.append(StreamStart(model if isinstance(model, str) else "", request_id=request_id(self._headers)))

    def _groq(self, extra: object) -> None:
        if isinstance(extra, Mapping):
            if extra.get("error"):
                raise classify(error_of(extra), billing=self._billing())
            self._usage = extra.get("usage") or self._usage

    def _check_error(self, name: bytes, chunk: Mapping[str, Any]) -> None:
        """Raise for an error object; other chunks without choices are lifecycle notes."""
        if (
            name == b"error"
            or is_error(chunk)
            or ("choices" not in chunk and ("message" in chunk or "detail" in chunk))
        ):
            raise classify(error_of(chunk), billing=self._billing())

    def _billing(self) -> Billing:
        return "estimated" if self._output else "ambiguous"

    def _complete(self, events: list[StreamEvent]) -> None:
        self.done = True
        if not self._started:
            raise ProviderError("protocol", "the stream ended without an answer", code="empty", billing="ambiguous")
        check_finish(self._finish, has_output=self._output, billing=self._billing())
        if self._tags is not None:
            thinking, text = self._tags.end()
            if thinking:
                events.append(ThinkingDelta(thinking))
            if text:
                events.append(TextDelta(text))
        self._calls.finish(self._id, events)
        if self._usage is not None:
            usage, warning = usage_from_openai(self._usage, self._visible)
            if warning is not None:
                self._request.warnings.append(warning)
            events.append(UsageReport(usage))
        events.append(
            StreamFinish(finish_from_openai(self._finish, has_calls=self._calls.any, has_refusal=self._refused))
        )


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
