"""How the models of one runtime look to routing: facts, traffic, limits and rest, gathered into a snapshot."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Protocol

from core.llm.common.exceptions import LLMError
from core.llm.common.types import ModelFacts, ModelRef, Price
from core.llm.pipeline.key_states import KeyState
from core.llm.pipeline.target import Target
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.provider import ModelHost
from core.llm.routing.arms import Arm
from core.llm.routing.snapshot import Candidate
from core.llm.routing.traffic import Traffic
from core.llm.runtime.state import RuntimeState

_FREE: Final = Price(Decimal(0), Decimal(0), source="local")


class Models(Protocol):
    """What is asked about models."""

    def unavailable(self, ref: ModelRef) -> str | None:
        """Why the provider of *ref* is off."""

    def completed(self, ref: ModelRef) -> ModelRef:
        """*ref* with the provider's default model where the configuration names one."""

    def known_target(self, ref: ModelRef) -> Target:
        """The target of a complete reference."""


class RuntimeSight:
    """Looks at the models of one runtime. What does not change while it lives is looked up once."""

    __slots__ = ("_models", "_seats", "_state")

    def __init__(self, models: Models, state: RuntimeState) -> None:
        self._models = models
        self._state = state
        self._seats: dict[ModelRef, _Seat | None] = {}

    def candidate(self, ref: ModelRef, weight: float) -> Candidate:
        """*ref* as it is now."""
        seat = self._seat(ref)
        if seat is None:
            return Candidate(ref, weight, rests=True)
        state, traffic, target = self._state, seat.traffic, seat.target
        now = state.clock.monotonic()
        facts = _facts_of(target)
        return Candidate(
            ref,
            weight,
            traffic.in_flight,
            traffic.latency.read(now),
            traffic.first_token.read(now),
            traffic.errors.read(now) or 0.0,
            seat.upstream.limits.headroom(now, seat.model),
            facts.price or seat.price,
            facts.context_window,
            facts.capabilities,
            state.is_loaded(target.ref) if seat.local and target is not None else None,
            seat.rests(now),
        )

    def facts(self, ref: ModelRef) -> ModelFacts | None:
        """What is known about the model; `None` where its provider is off."""
        seat = self._seat(ref)
        if seat is None:
            return None
        return _facts_of(seat.target)

    def arms(self, alias: str) -> Mapping[ModelRef, Arm]:
        """How the models of *alias* have done."""
        return self._state.memory.experiments.arms(alias)

    def _seat(self, ref: ModelRef) -> "_Seat | None":
        try:
            return self._seats[ref]
        except KeyError:
            seat = self._seats[ref] = self._made(ref)
            return seat

    def _made(self, ref: ModelRef) -> "_Seat | None":
        if self._models.unavailable(ref) is not None:
            return None
        complete = self._models.completed(ref)
        target = self._models.known_target(complete) if complete.model else None
        upstream = self._state.upstream(ref.provider)
        if target is None:
            return _Seat(None, upstream, Traffic(), (upstream.keys.of(None),), local=False)
        keys = tuple([upstream.keys.of(secret).at(complete.model) for secret in target.config.secrets or (None,)])
        local = isinstance(target.provider, ModelHost)
        return _Seat(target, upstream, self._state.traffic(complete), keys, local=local)


_UNKNOWN: Final = ModelFacts()


def _facts_of(target: Target | None) -> ModelFacts:
    """What is known; nothing where the provider fails at saying it, which comes out where it is its turn."""
    try:
        return _UNKNOWN if target is None else target.facts
    except LLMError:
        return _UNKNOWN


class _Seat:
    """Where to look for one model."""

    __slots__ = ("_keys", "local", "model", "price", "target", "traffic", "upstream")

    def __init__(
        self,
        target: Target | None,
        upstream: Upstream,
        traffic: Traffic,
        keys: tuple[KeyState, ...],
        *,
        local: bool,
    ) -> None:
        self.target = target
        self.traffic = traffic
        self.local = local
        # Who has models in memory runs them himself; a price of the configuration is believed before this.
        self.price = _FREE if local else None
        self.upstream = upstream
        self.model = "" if target is None else target.ref.model
        self._keys = keys

    def rests(self, now: float) -> bool:
        """Whether nothing would be sent: the breaker is open, or every key was told to wait."""
        if self.upstream.breaker.rests_for(self.model, now):
            return True
        for key in self._keys:  # noqa: SIM110 - a generator costs more than all the keys
            if key.resting_until <= now:
                return False
        return True
