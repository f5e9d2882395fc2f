"""The recorded exchanges with Anthropic, and what our dialect makes of them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.dialects.anthropic_chat import AnthropicDialect
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector, StreamEvent

FOLDER = Path(__file__).parents[2] / "recordings" / "anthropic"
DIALECT = AnthropicDialect()


class Recording:
    """One exchange."""

    def __init__(self, path: Path) -> None:
        data = json.loads(path.read_text())
        self.id: str = data["id"].removeprefix("anthropic.")
        self.is_stream: bool = data["stream"]
        self.status: int = data["response"]["status"]
        self.headers: dict[str, str] = {name.lower(): value for name, value in data["response"]["headers"].items()}
        self.body: bytes = data["response"]["body_text"].encode()
        self.request_body: Any = data["request"]["body"]
        self.expected: dict[str, Any] = data["expected"]
        self.is_cut = "request_cut" in data["tags"]

    def request(self) -> ChatRequest:
        params = LLMRequest(messages="hello")
        facts, limits = ModelFacts(), PhaseLimits()
        return ChatRequest("anthropic", "claude", params, params.messages, facts, limits, stream=self.is_stream)

    def events(self, *pieces: bytes) -> list[StreamEvent]:
        """What a fresh decoder makes of *pieces*; raises what it raises."""
        decoder = DIALECT.decoder(self.request(), self.headers)
        events = [event for piece in pieces for event in decoder.feed(piece)]
        return events + decoder.end()

    def read(self) -> LLMResponse:
        """The answer as a caller gets it, streamed or not."""
        if not self.is_stream:
            return DIALECT.decode(self.request(), self.status, self.headers, self.body)
        collector = ResponseCollector()
        for event in self.events(self.body):
            collector.add(event)
        return collector.response()


def recordings(endpoint: str) -> Iterator[Recording]:
    """Every recording of one endpoint: messages, count_tokens, models."""
    for path in sorted(FOLDER.glob(f"anthropic.{endpoint}.*.json")):
        yield Recording(path)


def params(chosen: Iterable[Recording]) -> list[Any]:
    """One test case for each, named after it."""
    return [pytest.param(recording, id=recording.id) for recording in chosen]
