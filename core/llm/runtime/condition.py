"""How a provider is, read off what is remembered about it. What keeps calls away counts first, then what went wrong.

off ── open ── quarantined ── resting ── failing ── unhealthy ── degraded ── ready
└──── nothing is sent ─────────────────┘└──── calls are sent ─────────────────────┘
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from core.llm.pipeline.breaker import Breaker
from core.llm.pipeline.key_states import KeyState
from core.llm.pipeline.upstream import Upstream

if TYPE_CHECKING:
    from core.llm.providers.config.models.provider import ProviderConfig

ProviderState = Literal["ready", "degraded", "failing", "unhealthy", "resting", "quarantined", "open", "off"]

FAILING_AFTER = 2
"""Failures in a row after which a provider is called failing."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of one provider now."""

    state: ProviderState
    reason: str = ""
    since: float | None = None
    """When it began, on the monotonic clock, where that is known."""
    next_try: float | None = None
    """Seconds until calls are sent again, where none are sent now."""
    parts: tuple[str, ...] = ()
    """Its models and keys that are out of use, each with the reason."""

    @property
    def serves(self) -> bool:
        """Whether a call would be sent, now or as soon as a short wait is over that the provider asked for."""
        return self.state not in {"off", "open", "quarantined"}


def condition(record: Upstream, config: "ProviderConfig", now: float) -> Condition:
    """How the provider of *record* is at the moment *now*."""
    last = record.last_error or ""
    parts = (*_models(record, now), *_keys(record, config, now))
    breaker = record.breaker
    if breaker.state != "closed":
        return Condition("open", f"{_open(breaker, now)}: {last}", breaker.since, breaker.wait(now), parts)
    resting = record.keys.all_resting(config.secrets, now)
    if resting is not None:
        wait = resting.resting_until - now
        state: ProviderState = "quarantined" if resting.refused else "resting"
        return Condition(state, f"for {wait:.0f} s more: {resting.reason}", resting.since, wait, parts)
    if record.consecutive_failures >= FAILING_AFTER:
        return Condition("failing", last, record.failing_since, parts=parts)
    if record.check is not None and not record.check.healthy:
        return Condition("unhealthy", record.check.detail, record.unhealthy_since, parts=parts)
    if parts:
        return Condition("degraded", "; ".join(parts), parts=parts)
    return Condition("ready", last if record.consecutive_failures else "")


def _open(breaker: Breaker, now: float) -> str:
    if breaker.rests(now):
        return f"left alone for at most {breaker.open_until - now:.0f} s more"
    return "the next call finds out whether it is back"


def _models(record: Upstream, now: float) -> list[str]:
    models = record.breaker.models.items()
    return [
        f"model {name}: {_open(one, now)}{f': {one.slow}' if one.slow else ''}"
        for name, one in models
        if one.state != "closed"
    ]


def _keys(record: Upstream, config: "ProviderConfig", now: float) -> list[str]:
    found: list[str] = []
    for secret in config.secrets or (None,):
        key = record.keys.of(secret)
        name = f"key {key.id}" if secret is not None else "all calls"
        if key.resting_until > now:
            found.append(f"{name}: {_rest(key, now)}")
        else:
            found += [f"{name} for model {model}: {_rest(key.at(model), now)}" for model in key.resting_models(now)]
    return found


def _rest(state: KeyState, now: float) -> str:
    word = "refused" if state.refused else "rests"
    return f"{word} for {state.resting_until - now:.0f} s more: {state.reason}"
