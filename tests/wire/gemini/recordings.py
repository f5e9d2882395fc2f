"""The recorded exchanges in the Gemini format, and what our dialect makes of them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.dialects.gemini import GeminiDialect
from core.llm.dialects.gemini_endpoint import GeminiEndpoint
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector, StreamEvent

FOLDER = Path(__file__).parents[2] / "recordings"


class Recording:
    """One exchange."""

    def __init__(self, path: Path) -> None:
        data = json.loads(path.read_text())
        self.id: str = data["id"]
        self.provider: str = data["provider"]
        self.wire: str = data["wire"]
        self.kind: str = data["kind"]
        self.tags: list[str] = data["tags"]
        self.model: str = data["model"] or "m"
        self.is_stream: bool = data["stream"]
        self.path: str = data["request"]["path"]
        self.request_body: Any = data["request"]["body"]
        self.status: int = data["response"]["status"]
        self.headers: dict[str, str] = {name.lower(): value for name, value in data["response"]["headers"].items()}
        self.body: bytes = data["response"]["body_text"].encode()
        self.expected: dict[str, Any] = data["expected"]

    @property
    def dialect(self) -> GeminiDialect:
        if self.provider == "vertex":
            return GeminiDialect(GeminiEndpoint("v1beta1", True, "example-project", "global"))
        return GeminiDialect()

    def request(self) -> ChatRequest:
        params = LLMRequest(messages="hello")
        return ChatRequest(
            self.provider, self.model, params, params.messages, ModelFacts(), PhaseLimits(), stream=self.is_stream
        )

    def events(self, *pieces: bytes) -> list[StreamEvent]:
        """What a fresh decoder makes of *pieces*; raises what it raises."""
        decoder = self.dialect.decoder(self.request(), self.headers)
        events = [event for piece in pieces for event in decoder.feed(piece)]
        return events + decoder.end()

    def response(self) -> LLMResponse:
        """The whole answer, streamed or not; raises what the dialect raises."""
        if self.status >= 300:
            raise self.dialect.error(self.status, self.headers, self.body)
        if not self.is_stream:
            return self.dialect.decode(self.request(), self.status, self.headers, self.body)
        collector = ResponseCollector()
        for event in self.events(self.body):
            collector.add(event)
        return collector.response()


def recordings(wire: str, *, error: bool | None = None) -> Iterator[Recording]:
    """Every recording of one endpoint, of both providers; with *error* only those that are, or are not, refusals."""
    for folder in ("gemini", "vertex"):
        for path in sorted((FOLDER / folder).glob(f"*{wire}.*.json")):
            recording = Recording(path)
            if error is None or (recording.status >= 300) == error:
                yield recording


def params(chosen: Iterable[Recording]) -> list[Any]:
    """One test case for each, named after it."""
    return [pytest.param(recording, id=recording.id) for recording in chosen]
