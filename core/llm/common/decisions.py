"""Events for what the layers around a call decide. `AttemptFailed` and `ProviderStateChanged` tell the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from core.llm.common.events import Event
from core.llm.common.types import Cost, ModelRef, Usage


@dataclass(frozen=True, slots=True)
class Decision(Event):
    """Base: something was decided about the call *call_id*."""

    call_id: str


@dataclass(frozen=True, slots=True)
class BudgetAlert(Event):
    """A budget has reached a threshold, told once per window; at 1.0 it is used up and refuses what it covers."""

    budget: str
    """Where it stands in the configuration."""
    threshold: float
    spent: Decimal
    limit: Decimal
    currency: str
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class CallQueued(Decision):
    """A limit of *target* holds the call back; it waits for its turn."""

    target: ModelRef
    limit: str
    """Which one: `requests_per_minute`, `max_concurrency`, …"""
    expected: float
    """Seconds until its turn, as far as can be said now."""


@dataclass(frozen=True, slots=True)
class CallSpilled(Decision):
    """A limit of *target* would hold the call back for too long; it goes to the next candidate."""

    target: ModelRef
    limit: str
    expected: float


@dataclass(frozen=True, slots=True)
class CallRefused(Decision):
    """The call was refused before anything was sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class RefusalRoutedAround(Decision):
    """*refused_by* would not answer, and the alias names another model for that case. For the audit."""

    refused_by: ModelRef
    to: ModelRef


@dataclass(frozen=True, slots=True)
class CallHedged(Decision):
    """The first candidate was slow, so the request went to *second* as well."""

    first: ModelRef
    second: ModelRef
    after: float


@dataclass(frozen=True, slots=True)
class HedgeEnded(Decision):
    """The faster of the two has answered; the other one was cut."""

    winner: ModelRef
    loser: ModelRef


@dataclass(frozen=True, slots=True)
class StreamRecovered(Decision):
    """A broken stream goes on: restarted from the beginning, or continued where it broke."""

    broken: ModelRef
    target: ModelRef
    policy: str


@dataclass(frozen=True, slots=True)
class CallJoined(Decision):
    """An identical call was already running; this one shares its answer."""

    leader_id: str


@dataclass(frozen=True, slots=True)
class CacheHit(Decision):
    """The answer came from the cache."""

    age: float
    saved: Cost | None = None
    """What it had cost; `None` where no price is known."""


@dataclass(frozen=True, slots=True)
class GuardrailBlocked(Decision):
    """A guardrail stopped the request or the answer."""

    guardrail: str
    where: str
    """`input` or `output`."""


@dataclass(frozen=True, slots=True)
class ShadowEnded(Decision):
    """A copy of the call was answered by *target*, or failed there. No content: only how the two answers compare."""

    target: ModelRef
    outcome: Literal["answered", "failed", "skipped", "cancelled"]
    duration: float
    original_length: int = 0
    """Characters that the caller got."""
    length: int = 0
    """Characters of the copy's answer."""
    similarity: float | None = None
    """How much the two texts have in common, from 0 to 1; `None` where the copy has no answer."""
    usage: Usage | None = None
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class OutcomeReported(Decision):
    """The host has said how good the answer of a call was."""

    value: float
    alias: str | None = None
    """The alias that chose the model; `None` where there was none, or the call is no longer remembered."""
    target: ModelRef | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
