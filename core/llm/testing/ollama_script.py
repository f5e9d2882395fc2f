"""What a scripted Ollama server knows and says: its models, its answers, what can be pulled from its registry."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class OllamaModelSpec:
    """A model of the server."""

    name: str
    capabilities: Sequence[str] = ("completion", "tools")
    context_length: int = 4096
    size: int = 1_000_000
    dimensions: int = 8
    """Length of its vectors."""
    family: str = "tiny"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Options from its Modelfile."""
    remote_host: str | None = None
    """Set for a model that the server would forward to a cloud."""
    load_seconds: float = 0.0
    load_error: str = ""
    """Why it cannot be loaded."""

    @property
    def digest(self) -> str:
        """Digest of the model, without the `sha256:` that Ollama leaves out here."""
        return hashlib.sha256(f"{self.name} {self.size} {sorted(self.parameters)}".encode()).hexdigest()


@dataclass(slots=True)
class OllamaAnswer:
    """What the server says to one chat or generate request."""

    text: str | Sequence[str] = ""
    """Text, cut into one piece per word; or the pieces themselves."""
    thinking: str | Sequence[str] = ""
    tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Name and arguments of each call."""
    tool_ids: bool = True
    """Whether the calls have ids, as recent servers send them."""
    done_reason: str | None = "stop"
    counts: bool | tuple[int, int] = True
    """Whether token counts are reported, or the counts themselves: prompt and answer."""
    error: str | None = None
    """Ends the answer: a status 500 when nothing was said yet or it is no stream, else a line in the stream."""
    status: int = 500
    cut: bool = False
    """End the body after the pieces, without the last line."""
    hold: asyncio.Event | None = None
    """Wait for this after `hold_after` pieces (before the answer, where it is no stream)."""
    hold_after: int = 1

    def pieces(self) -> list[str]:
        """The text as it is streamed."""
        return words(self.text)

    def thoughts(self) -> list[str]:
        """The thinking as it is streamed."""
        return words(self.thinking)


@dataclass(slots=True)
class OllamaDownload:
    """A model that can be pulled."""

    model: OllamaModelSpec
    layers: Sequence[int] = (600_000, 400_000)
    """Sizes in bytes."""
    steps: int = 4
    """Progress lines per layer."""
    error: str | None = None
    """Ends the pull halfway through the last layer, once; the next pull continues."""
    cut: bool = False
    """End the body halfway through the last layer, without a word, once."""
    unverified: bool = False
    """Say that all is well without having compared a digest."""
    hold: asyncio.Event | None = None
    """Wait for this after the first half of the first layer."""
    done: dict[str, int] = field(default_factory=dict)
    """Bytes that have arrived, by layer: what a resumed pull begins with."""

    def digests(self) -> list[tuple[str, int]]:
        """Digest and size of each layer."""
        return [
            (f"sha256:{hashlib.sha256(f'{self.model.name} {number}'.encode()).hexdigest()}", size)
            for number, size in enumerate(self.layers)
        ]


def words(text: str | Sequence[str]) -> list[str]:
    """One piece per word, spaces kept; pieces that were given stay as they are."""
    if not isinstance(text, str):
        return list(text)
    pieces: list[str] = []
    for word in text.split(" "):
        pieces.append(f" {word}" if pieces else word)
    return [piece for piece in pieces if piece]
