"""Streamed and whole answers of the Gemini format.

A stream has no terminal marker: the last chunk carries a finish reason, and the body ends. Where a proxy has dropped
`alt=sse` the chunks come as one JSON array, which is read just as well.
"""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.secrets import one_line
from core.llm.dialects.errors import ErrorBody, classify, clean
from core.llm.dialects.framing import SSESplitter
from core.llm.dialects.gemini_answer import AnswerReader
from core.llm.dialects.gemini_errors import gemini_error, google_error_object
from core.llm.dialects.json import MAX_BYTES, parse_json, parse_object, schema_error
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector, StreamEvent

_BOM: Final = b"\xef\xbb\xbf"
_PREVIEW: Final = 64


class GeminiStreamDecoder:
    """One stream. `finished` is true from the finish reason on; the body is read to its end for the usage."""

    __slots__ = ("_failure", "_headers", "_json", "_reader", "_splitter", "_undecided", "done")

    def __init__(self, request: ChatRequest, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._reader = AnswerReader(request, headers)
        self._splitter = SSESplitter()
        self._json: bytearray | None = None
        self._undecided = True
        self._failure: ProviderError | None = None
        self.done = False

    @property
    def finished(self) -> bool:
        """True once the model has said why it stopped: the body may end here, or the connection fall silent."""
        return self._reader.finish is not None and self._failure is None

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
                if payload and payload != b"[DONE]":
                    self._event(name, payload, events)
        except ProviderError as error:
            self._failure = error
            self.done = True
        return events

    def end(self) -> list[StreamEvent]:
        """The body has ended, or `done` is set.

        Raises:
            ProviderError: `protocol` for anything unreadable (`truncated`, `empty`: there was no finish reason); the
                error that the provider sent; or `content_filter` where the prompt or the whole answer was blocked.
        """
        if self._failure is not None:
            raise self._failure
        if self.done:
            return []
        events: list[StreamEvent] = []
        if self._json is not None:
            self._whole(bytes(self._json), events)
        elif self._reader.finish is None:
            self._last_words()
        if self._reader.finish is None:
            raise _incomplete(self._reader)
        self.done = True
        self._reader.end(events)
        return events

    def _decide(self, data: bytes) -> bytes:
        """Look at the first visible byte: JSON begins with a bracket, a page with `<`, a stream with neither."""
        data = data.removeprefix(_BOM)
        first = data.lstrip()[:1]
        if not first:
            return data
        self._undecided = False
        if first in {b"{", b"["}:
            self._json = bytearray()
        elif first == b"<" or "html" in self._headers.get("content-type", ""):
            raise not_json(data, self._headers)
        return data

    def _collect(self, data: bytes) -> None:
        collected = self._json
        if collected is None:
            return
        collected += data
        if len(collected) > MAX_BYTES:
            raise ProviderError(
                "protocol", f"the answer is larger than {MAX_BYTES} bytes", code="too_large", retryable=False
            )

    def _whole(self, body: bytes, events: list[StreamEvent]) -> None:
        for chunk in chunks_of(body):
            self._reader.chunk(chunk, events)

    def _event(self, name: bytes, payload: bytes, events: list[StreamEvent]) -> None:
        if payload[:1] == b"[":
            # An error in the middle may come as a list of one.
            for chunk in chunks_of(payload):
                self._reader.chunk(chunk, events)
        elif name == b"error" and payload[:1] != b"{":
            raise classify(ErrorBody(payload.decode("utf-8", "replace")), billing=self._reader.billing)
        else:
            self._reader.chunk(parse_object(payload), events)

    def _last_words(self) -> None:
        """Raise the error that stands at the end without being an event: bare JSON, or no blank line after it."""
        rest = self._splitter.rest.strip()
        for line in (rest, rest.removeprefix(b"data:").strip()):
            if line[:1] not in {b"{", b"["}:
                continue
            try:
                value = parse_json(line)
            except ProviderError:
                return
            if google_error_object(value) is not None:
                raise gemini_error(value, headers=self._headers, billing=self._reader.billing)


def decode_answer(request: ChatRequest, headers: Mapping[str, str], body: bytes) -> LLMResponse:
    """The answer in *body*.

    Raises:
        ProviderError: it holds no complete answer.
    """
    reader = AnswerReader(request, headers)
    collector = ResponseCollector()
    events: list[StreamEvent] = []
    chunks = json_chunks(body, headers)
    for chunk in chunks:
        reader.chunk(chunk, events)
    if reader.finish is None:
        if not reader.started:
            raise _lacking("candidates", reader)
        raise _lacking("finish reason", reader)
    reader.end(events)
    for event in events:
        collector.add(event)
    response = collector.response()
    response.raw = chunks[0] if len(chunks) == 1 else chunks
    return response


def json_chunks(body: bytes, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    """As `chunks_of`, for a whole body, which may also be empty or a web page.

    Raises:
        ProviderError: `protocol` for everything that is no JSON object or list of objects.
    """
    if not body.strip():
        raise ProviderError("protocol", "the answer has no body", code="empty", billing="ambiguous")
    if body.removeprefix(_BOM).lstrip()[:1] not in {b"{", b"["}:
        raise not_json(body, headers)
    return chunks_of(body)


def chunks_of(body: bytes) -> list[dict[str, Any]]:
    """The chunks in a JSON text: the object itself, or the objects of a list.

    Raises:
        ProviderError: `protocol`: it is something else.
    """
    value = parse_json(body)
    chunks = value if isinstance(value, list) else [value]
    if not chunks or not all(isinstance(chunk, dict) for chunk in chunks):
        raise schema_error("it is no JSON object")
    return chunks


def not_json(body: bytes, headers: Mapping[str, str]) -> ProviderError:
    """The error for a good status with a body that is no answer: a login page, a proxy's message."""
    label = one_line(headers.get("content-type", "no content type"), 60)
    try:
        body.decode()
    except UnicodeDecodeError:
        return ProviderError(
            "protocol", f"the answer is neither JSON nor text ({label})", code="encoding", billing="ambiguous"
        )
    preview = clean(body[:_PREVIEW].decode("utf-8", "replace"))
    return ProviderError(
        "protocol",
        f"the answer is not JSON ({label}, {len(body)} bytes): {preview!r}. Check base_url and any proxy in between",
        code="content_type" if body.lstrip()[:1] == b"<" or "html" in label else "json",
        billing="ambiguous",
    )


def _incomplete(reader: AnswerReader) -> ProviderError:
    if not reader.started:
        return ProviderError("protocol", "the stream ended without an answer", code="empty", billing="ambiguous")
    return ProviderError(
        "protocol",
        "the stream ended in the middle: no finish reason had arrived",
        code="truncated",
        billing=reader.billing,
    )


def _lacking(what: str, reader: AnswerReader) -> ProviderError:
    error = schema_error(f"it has no {what}")
    error.billing = reader.billing
    return error
