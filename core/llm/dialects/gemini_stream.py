"""Streamed and whole answers of the Gemini format.

A stream has no terminal marker: the last chunk carries a finish reason, and the body ends. Where a proxy has dropped
`alt=sse` the chunks come as one JSON array, which is read just as well.
"""

from collections.abc import Mapping
from typing import Any

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.event_decoder import EventDecoder
from core.llm.dialects.gemini_answer import AnswerReader
from core.llm.dialects.gemini_errors import gemini_error, google_error_object
from core.llm.dialects.json import parse_json, parse_object, schema_error
from core.llm.dialects.json_body import require_json
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector, StreamEvent


class GeminiStreamDecoder(EventDecoder):
    """One stream. `finished` is true from the finish reason on; the body is read to its end for the usage."""

    __slots__ = ("_reader",)

    def __init__(self, request: ChatRequest, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self._reader = AnswerReader(request, headers)

    def _has_started(self) -> bool:
        return self._reader.started

    def _has_output(self) -> bool:
        return self._reader.output

    def _has_finish(self) -> bool:
        return self._reader.finish is not None

    def _whole(self, body: bytes, events: list[StreamEvent]) -> None:
        for chunk in chunks_of(body):
            self._reader.chunk(chunk, events)
        if self._reader.finish is None:
            raise self._incomplete(b"")
        self._complete(events)

    def _complete(self, events: list[StreamEvent]) -> None:
        self.done = True
        self._reader.end(events)

    def _event(self, name: bytes, payload: bytes, events: list[StreamEvent]) -> None:  # noqa: ARG002 - events have no names
        if payload[:1] == b"[":
            # An error in the middle may come as a list of one.
            for chunk in chunks_of(payload):
                self._reader.chunk(chunk, events)
        else:
            self._reader.chunk(parse_object(payload), events)

    def _last_words(self, rest: bytes, events: list[StreamEvent]) -> None:  # noqa: ARG002 - nothing is completed
        """Raise the error that stands at the end without being an event: bare JSON, or no blank line after it."""
        rest = rest.strip()
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
        lacking = "finish reason" if reader.started else "candidates"
        raise schema_error(f"it has no {lacking}", reader.billing)
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
    require_json(body, headers)
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
