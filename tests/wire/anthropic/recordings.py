"""The recorded exchanges with Anthropic, and what our dialect makes of them."""

from collections.abc import Iterator
from pathlib import Path

from core.llm.dialects.anthropic_chat import AnthropicDialect
from tests.wire.recorded import FOLDER, RecordedExchange

DIALECT = AnthropicDialect()


class Recording(RecordedExchange):
    """One exchange."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.id = self.id.removeprefix("anthropic.")
        self.is_cut = "request_cut" in self.tags

    @property
    def dialect(self) -> AnthropicDialect:
        return DIALECT


def recordings(endpoint: str) -> Iterator[Recording]:
    """Every recording of one endpoint: messages, count_tokens, models."""
    for path in sorted((FOLDER / "anthropic").glob(f"anthropic.{endpoint}.*.json")):
        yield Recording(path)
