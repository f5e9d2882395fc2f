"""What the service says about itself: models, providers, and what it would do with a request."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.llm.common.types import Capability, ModelRef
from core.llm.limiting.upstream import LimitsStatus

ProviderState = Literal["ready", "failing", "unhealthy", "resting", "open", "off"]


@dataclass(frozen=True, slots=True)
class AvailableModel:
    """A name that can be asked for."""

    name: str
    kind: Literal["alias", "model"]
    targets: tuple[str, ...]
    """The `provider/model` references behind it, in the order in which they are tried."""
    available: bool
    reason: str = ""
    """Why not, where it is not available."""
    capabilities: frozenset[Capability] = frozenset()


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """How a configured provider is doing, judged by what happened to calls and, where it is checked, by checks."""

    name: str
    type: str
    state: ProviderState
    """
    `failing`: the last calls failed. `unhealthy`: its health check failed. `resting`: it asked to wait, or refused
    every key. `open`: it kept failing and is left alone. `off`: switched off, or something it needs is missing.
    """
    reason: str = ""
    consecutive_failures: int = 0
    last_success: datetime | None = None
    last_failure: datetime | None = None
    limits: LimitsStatus = LimitsStatus()
    """Calls in flight and in the queue, and what is left of each quota."""


@dataclass(frozen=True, slots=True)
class ExplainedCandidate:
    """One candidate, and whether it would be sent the request."""

    target: ModelRef
    verdict: Literal["first", "next", "skipped"]
    reason: str = ""

    def __str__(self) -> str:
        name = str(self.target) if self.target.model else f"{self.target.provider}/(its default model)"
        return f"{name}: {self.verdict}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen to a request now. Nothing was sent."""

    requested: str
    how: str
    generation: int
    candidates: tuple[ExplainedCandidate, ...]
    notes: tuple[str, ...] = ()
    """Why the order is this one: what the strategy saw, and who was left out or put last."""

    @property
    def first(self) -> ModelRef | None:
        """The candidate that would be tried first; `None` where every one would be skipped."""
        return next((candidate.target for candidate in self.candidates if candidate.verdict == "first"), None)

    def __str__(self) -> str:
        lines = [f"{self.requested or 'the default model'}: {self.how} (configuration generation {self.generation})"]
        return "\n".join(
            [*lines, *(f"  {candidate}" for candidate in self.candidates), *(f"  note: {note}" for note in self.notes)]
        )


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Prompt tokens of a request."""

    tokens: int
    estimated: bool
    """True where the provider has not counted them."""
    low: int
    high: int
    """The truth lies between the two; both equal `tokens` where the provider has counted."""
    source: Literal["provider", "calibrated", "estimate"]
    """Who says so: the provider; what it reported for earlier calls of the model; the length and script of the text."""
    note: str = ""
    """Why the provider, which can count, did not."""
