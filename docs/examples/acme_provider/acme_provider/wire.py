"""Acme's wire format: an answer is one JSON object, a stream one such object per line."""

# ruff: noqa: ARG002 - the signatures are those of every dialect

from collections.abc import Mapping
from typing import Any

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.messages import TextPart, ThinkingPart
from core.llm.common.types import FinishReason, UnifiedFinish, Usage
from core.llm.common.wire import HttpCall
from core.llm.dialects.errors import http_error
from core.llm.dialects.framing import LineSplitter
from core.llm.dialects.json import encode_json, parse_object
from core.llm.dialects.stream_decoder import AnswerDecoder
from core.llm.providers.base import response as out
from core.llm.providers.base.request import ChatRequest

SENT = {"temperature": "warmth", "max_tokens": "limit"}
DROPPED = "top_p top_k stop seed frequency_penalty presence_penalty thinking user tools tool_choice response_format"

FINISHES: dict[str, UnifiedFinish] = {"done": "stop", "full": "length"}


class AcmeDialect:
    """A `ChatDialect`. Pure: no I/O, nothing kept between calls."""

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*; what cannot be sent is reported or refused, never left out in silence."""
        body: dict[str, Any] = {"model": request.model, "stream": request.stream, **request.extra}
        for name, theirs in SENT.items():
            if (value := getattr(request.params, name)) is not None:
                body[theirs] = value
        for name in DROPPED.split():
            if getattr(request.params, name) is not None:
                request.warn("dropped", name, f"Acme knows no {name}")
        if any(not isinstance(part, TextPart | ThinkingPart) for turn in request.messages for part in turn.parts):
            raise UnsupportedFeature(f"{request.provider} takes text only")
        body["turns"] = [{"by": turn.role, "text": turn.text} for turn in request.messages]
        return HttpCall("POST", "/talk", encode_json(body), streaming=request.stream)

    def decode(self, request: ChatRequest, status: int, headers: Mapping[str, str], body: bytes) -> out.LLMResponse:
        """The answer in *body*, which is a stream of one line."""
        collector, decoder = out.ResponseCollector(), AcmeDecoder(headers)
        for event in [*decoder.feed(body), *decoder.end()]:
            collector.add(event)
        return collector.response()

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> "AcmeDecoder":
        """A fresh decoder for one stream."""
        return AcmeDecoder(headers)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that a refusal stands for; Acme's have the usual form."""
        return http_error(status, headers, body)


class AcmeDecoder(AnswerDecoder):
    """Lines to events, however the network cuts them. The base keeps errors until what came before is delivered."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self._lines, self._begun, self._said = LineSplitter(), False, False

    def _has_started(self) -> bool:
        return self._begun

    def _has_output(self) -> bool:
        return self._said

    def _has_finish(self) -> bool:
        return self.done

    def _take(self, data: bytes, events: list[out.StreamEvent]) -> None:
        for line in self._lines.feed(data):
            self._line(parse_object(line), events)

    def _end(self, events: list[out.StreamEvent]) -> None:
        for line in self._lines.end():
            self._line(parse_object(line), events)
        if not self.done:
            raise self._incomplete(b"")

    def _line(self, line: dict[str, Any], events: list[out.StreamEvent]) -> None:
        if not self._begun:
            self._begun = True
            events.append(out.StreamStart(str(line.get("model", ""))))
        if said := line.get("said"):
            self._said = True
            events.append(out.TextDelta(str(said)))
        if "end" in line:
            self.done = True
            if isinstance(counted := line.get("counted"), dict):
                events.append(out.UsageReport(Usage(counted.get("in", 0), output=counted.get("out", 0), raw=counted)))
            finish = FinishReason(FINISHES.get(str(line["end"]), "other"), str(line["end"]))
            events.append(out.StreamFinish(finish))
