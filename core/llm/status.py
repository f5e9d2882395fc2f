"""What the service says about itself: models, providers, and what it would do with a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from core.llm.common.types import Capability, ModelFacts, ModelRef
from core.llm.limiting.upstream import LimitsStatus
from core.llm.runtime.condition import ProviderState


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
    facts: ModelFacts = field(default_factory=ModelFacts)
    """Context, price and the like, as far as they are known; of a model only, not of an alias."""


@dataclass(frozen=True, slots=True)
class ModelTraffic:
    """What calls to one model have shown: moving averages that forget, as routing sees them."""

    in_flight: int
    """Calls that are there now, waiting for their turn included."""
    latency: float | None
    """Seconds that a whole answer takes; `None` before the first one."""
    first_token: float | None
    """Seconds until the first output of a stream."""
    error_rate: float
    """Share of the recent attempts that failed, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """How a configured provider is doing, judged by what happened to calls and, where it is checked, by checks."""

    name: str
    type: str
    state: ProviderState
    """
    `degraded`: calls are answered, but some of its keys or models are out of use. `failing`: the last calls failed.
    `unhealthy`: its health check failed. `resting`: it asked to wait. `quarantined`: it refused every key. `open`: it
    kept failing and is left alone. `off`: switched off, or something it needs is missing.
    """
    reason: str = ""
    consecutive_failures: int = 0
    last_success: datetime | None = None
    last_failure: datetime | None = None
    limits: LimitsStatus = field(default_factory=LimitsStatus)
    """Calls in flight and in the queue, and what is left of each quota."""
    since: datetime | None = None
    """When the state began, where that is known."""
    next_try: float | None = None
    """Seconds until calls are sent again, where none are sent now."""
    in_flight: int = 0
    """Attempts that have been sent and have not ended."""
    parts: tuple[str, ...] = ()
    """Its models and keys that are out of use, each with the reason."""
    models: Mapping[str, ModelTraffic] = field(default_factory=dict)
    """What calls to its models have shown; empty where no strategy wants to know."""


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
class ArmReport:
    """How one model of an alias has done since the service was started."""

    target: ModelRef
    answered: int
    failed: int
    share: float
    """Of all attempts of the alias, from 0 to 1."""
    scores: int
    """Outcomes that were reported for its answers."""
    mean_score: float | None
    score_error: float | None
    """Standard error of the mean score."""
    mean_seconds: float | None
    """From the call to the end of the answer."""
    mean_cost: float | None
    """In the configured currency; 0 where no price is known."""

    def __str__(self) -> str:
        parts = [f"{self.answered} answered, {self.failed} failed"]
        if self.mean_score is not None:
            error = f" ± {self.score_error:.2g}" if self.score_error is not None else ""
            parts.append(f"score {self.mean_score:.3g}{error} of {self.scores}")
        if self.mean_seconds is not None:
            parts.append(f"{self.mean_seconds:.3g} s, {self.mean_cost or 0.0:.3g} each")
        return f"{self.target}: " + ", ".join(parts)


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """The models behind an alias side by side."""

    alias: str
    strategy: str
    arms: tuple[ArmReport, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.alias} ({self.strategy})", *(f"  {arm}" for arm in self.arms)])


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
