"""The recorded exchanges in the OpenAI format, and what our dialect makes of them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import StreamEvent
from core.llm.providers.openai_compatible.presets import preset_names, quirks_of

FOLDER = Path(__file__).parents[2] / "recordings"


class Recording:
    """One exchange."""

    def __init__(self, path: Path) -> None:
        data = json.loads(path.read_text())
        self.id: str = data["id"]
        self.provider: str = data["provider"]
        self.wire: str = data["wire"]
        self.model: str = data["model"] or "m"
        self.is_stream: bool = data["stream"]
        self.status: int = data["response"]["status"]
        self.headers: dict[str, str] = {name.lower(): value for name, value in data["response"]["headers"].items()}
        self.body: bytes = data["response"]["body_text"].encode()
        self.request_body: Any = data["request"]["body"]
        self.expected: dict[str, Any] = data["expected"]

    @property
    def quirks(self) -> OpenAIQuirks:
        name = self.provider.removeprefix("openai_compatible:").replace("-", "_")
        return quirks_of(name, {}) if name in preset_names() else OpenAIQuirks()

    @property
    def dialect(self) -> OpenAIChatDialect | OpenAIResponsesDialect:
        return (OpenAIResponsesDialect if self.wire == "openai.responses" else OpenAIChatDialect)(self.quirks)

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


def recordings(wire: str) -> Iterator[Recording]:
    """Every recording of one endpoint."""
    for path in sorted(FOLDER.glob("*/*.json")):
        # The file of OpenAI's own traffic begins with the wire; elsewhere the provider stands before it.
        if f".{wire}." in f".{path.name}":
            yield Recording(path)


def params(chosen: Iterable[Recording]) -> list[Any]:
    """One test case for each, named after it."""
    return [pytest.param(recording, id=recording.id) for recording in chosen]
