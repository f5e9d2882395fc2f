"""Events for what the layers around a call decide. `AttemptFailed` and `ProviderStateChanged` tell the rest."""

from dataclasses import dataclass

from core.llm.common.events import Event
from core.llm.common.types import ModelRef


@dataclass(frozen=True, slots=True)
class Decision(Event):
    """Base: something was decided about the call *call_id*."""

    call_id: str


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


@dataclass(frozen=True, slots=True)
class GuardrailBlocked(Decision):
    """A guardrail stopped the request or the answer."""

    guardrail: str
    where: str
    """`input` or `output`."""


@dataclass(frozen=True, slots=True)
class ShadowEnded(Decision):
    """A copy of the call was answered by *target*, or failed there."""

    target: ModelRef
    outcome: str
    duration: float
