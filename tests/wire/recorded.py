"""Recorded exchanges of any vendor, and the rules that every recorded stream is held to."""

import base64
import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.providers.base.http_provider import ChatDialect
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector, StreamEvent, StreamFinish, StreamStart

FOLDER = Path(__file__).parents[1] / "recordings"


class RecordedExchange(ABC):
    """One exchange, and what a dialect makes of it."""

    def __init__(self, path: Path) -> None:
        data = json.loads(path.read_text())
        request, response = data["request"], data["response"]
        self.id: str = data["id"]
        self.provider: str = data["provider"]
        self.wire: str = data["wire"]
        self.tags: list[str] = data["tags"]
        self.model: str = data["model"] or "m"
        self.is_stream: bool = data["stream"]
        self.path: str = request["path"]
        self.request_body: Any = request["body"]
        self.status: int = response["status"]
        self.headers: dict[str, str] = {name.lower(): value for name, value in response["headers"].items()}
        self.body = base64.b64decode(response.get("body_base64", "")) or response.get("body_text", "").encode()
        self.expected: dict[str, Any] = data["expected"]
        self.missing: str = data.get("expected_missing_reason") or ""

    @property
    @abstractmethod
    def dialect(self) -> ChatDialect:
        """What reads it."""

    def request(self) -> ChatRequest:
        """A request that could have had this answer."""
        params = LLMRequest(messages="hello")
        return ChatRequest(
            self.provider, self.model, params, params.messages, ModelFacts(), PhaseLimits(), stream=self.is_stream
        )

    def events(self, *pieces: bytes) -> list[StreamEvent]:
        """What a fresh decoder makes of *pieces*; raises what it raises."""
        decoder = self.dialect.decoder(self.request(), self.headers)
        events = [event for piece in pieces for event in decoder.feed(piece)]
        return events + decoder.end()

    def outcome(self, *pieces: bytes) -> object:
        """As `events`, with an error as a value."""
        try:
            return self.events(*pieces)
        except ProviderError as error:
            return (error.type, error.code, error.message)

    def response(self) -> LLMResponse:
        """The answer as a caller gets it, streamed or not; raises what the dialect raises."""
        if self.status >= 300:
            raise self.dialect.error(self.status, self.headers, self.body)
        if not self.is_stream:
            return self.dialect.decode(self.request(), self.status, self.headers, self.body)
        collector = ResponseCollector()
        for event in self.events(self.body):
            collector.add(event)
        return collector.response()

    def failure(self) -> ProviderError:
        """The error that it stands for, whether its status says so or an event of its stream."""
        with pytest.raises(ProviderError) as caught:
            self.response()
        return caught.value


def params(chosen: Iterable[RecordedExchange]) -> list[Any]:
    """One test case for each, named after it."""
    return [pytest.param(recording, id=recording.id) for recording in chosen]


def calls_of(response: LLMResponse) -> list[dict[str, Any]]:
    """Tool calls in the form of the expectations: text where the arguments are no JSON object."""
    return [
        {"name": call.name, "arguments": dict(call.arguments) if call.arguments_error is None else call.raw_arguments}
        for call in response.tool_calls
    ]


def assert_cuts_change_nothing(recording: RecordedExchange) -> None:
    """One byte at a time cuts at every boundary at once; two pieces are tried around the edges of events.

    Small streams are cut in two at every single byte.
    """
    body = recording.body
    whole = recording.outcome(body)
    for size in (1, 2, 3, 5, 7):
        pieces = (body[at : at + size] for at in range(0, len(body), size))
        assert recording.outcome(*pieces) == whole, f"pieces of {size}"
    edges = [match.start() + off for match in re.finditer(rb"\r?\n\r?\n", body) for off in range(-3, 5)]
    rng = random.Random(len(body))
    chosen = rng.sample(edges, min(25, len(edges))) + rng.sample(range(len(body)), min(25, len(body)))
    for cut in range(len(body)) if len(body) < 3000 else sorted(chosen):
        assert recording.outcome(body[:cut], body[cut:]) == whole, f"cut at byte {cut}"


def assert_framed(events: list[StreamEvent]) -> None:
    """`StreamStart` first, `StreamFinish` last, each of them once."""
    kinds = [type(event) for event in events]
    assert (kinds[0], kinds.count(StreamStart)) == (StreamStart, 1)
    assert (kinds[-1], kinds.count(StreamFinish)) == (StreamFinish, 1)


def assert_no_answer_before(recording: RecordedExchange, marker: int) -> None:
    """Every proper prefix that ends before byte *marker*, where the answer is complete, is an error."""
    for cut in range(0, marker, max(marker // 40, 1)):
        with pytest.raises(ProviderError) as caught:
            recording.events(recording.body[:cut])
        assert (caught.value.type, caught.value.code) in {("protocol", "truncated"), ("protocol", "empty")}
