"""One immutable world: a configuration, its providers, and the handler that calls go through."""

import asyncio
from collections.abc import Mapping
from typing import Final

from core.llm.common.exceptions import ProviderError, UnknownProvider, UnsupportedFeature
from core.llm.common.log import log
from core.llm.common.types import ModelRef
from core.llm.pipeline.candidates import Resting
from core.llm.pipeline.defects import own_error
from core.llm.pipeline.handler import Call, Handler, raise_alone
from core.llm.pipeline.resting import resting
from core.llm.pipeline.shadow import Host
from core.llm.pipeline.target import Target
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.plan import Plan
from core.llm.routing.references import References
from core.llm.routing.router import Router
from core.llm.runtime.sight import RuntimeSight
from core.llm.runtime.state import RuntimeState

_TARGETS_KEPT: Final = 1024


class Runtime(Host):
    """Serves calls until it is replaced. `leases` counts the calls that still use it."""

    def __init__(
        self,
        generation: int,
        config: LLMServiceConfig,
        providers: Mapping[str, BaseLLMProvider],
        disabled: Mapping[str, str],
        state: RuntimeState,
    ) -> None:
        self.generation = generation
        self.config = config
        self.providers = dict(providers)
        self.disabled = dict(disabled)
        self.state = state
        self.leases = 0
        self.calls: set[Call] = set()
        self.emptied: asyncio.Event | None = None
        """Set when the last lease is given back, once somebody waits for that."""
        self._targets: dict[ModelRef, Target] = {}
        self._told: set[str] = set()
        self.router = self._new_router()
        self._reserves = _reserves(config)
        # Who only imports the library does not pay for the layers: they are loaded with the first configuration.
        from core.llm.pipeline.build import build_handler, build_target_handler  # noqa: PLC0415 - see above

        self._target_handler = build_target_handler
        self.handler: Handler = build_handler(config, self, state.memory)

    def join(self, call: Call) -> None:
        """Take a lease for *call*."""
        self.leases += 1
        self.calls.add(call)

    def leave(self, call: Call | None = None) -> None:
        """Give a lease back; the last one tells whoever waits for it."""
        self.leases -= 1
        if call is not None:
            self.calls.discard(call)
        if self.leases == 0 and self.emptied is not None:
            self.emptied.set()

    def plan(self, call: Call) -> Plan:
        """The candidates of *call*, with the reasons in its trace.

        Raises:
            UnsupportedFeature: its alias admits none of its models.
        """
        plan = self.router.plan(call.request, call.mode, call.rng)
        call.trace.how = plan.how
        if plan.notes:
            call.trace.notes.extend(plan.notes)
            if plan.warning and plan.warning not in self._told:
                self._told.add(plan.warning)
                log("WARNING", "{}", plan.warning)
        if not plan.candidates:
            reasons = "\n".join(f"  {note}" for note in plan.notes)
            raise UnsupportedFeature(f"alias {plan.alias!r} admits none of its models, see its `where`:\n{reasons}")
        if plan.wanted is not None:
            self.state.want_loaded(plan.wanted)
        if plan.alias in self._reserves:
            call.reserves = self._reserves[plan.alias]
        return plan

    def reroute(self) -> None:
        """Plan calls by what swapped aliases mean now; calls that have been planned keep their plan."""
        self.router = self._new_router()

    def _new_router(self) -> Router:
        config = self.state.swapped.applied(self.config)
        return Router(config, RuntimeSight(self, self.state), self.state.functions)

    def unavailable(self, ref: ModelRef) -> str | None:
        """Why the provider of *ref* is off."""
        if ref.provider in self.providers:
            return None
        return self.disabled.get(ref.provider, "the provider is not configured")

    def resting(self, ref: ModelRef, now: float) -> Resting | None:
        """Why nothing would be sent to *ref* at the moment *now*: it kept failing, or asked to wait."""
        return resting(self.state.upstream(ref.provider), self.config.providers[ref.provider], ref.model, now)

    def wake(self, ref: ModelRef, now: float) -> bool:
        """Whether *ref* may be asked before its time because nobody else is left."""
        return self.state.upstream(ref.provider).breaker.wake(ref.model, now)

    def may_wake(self, ref: ModelRef, now: float) -> bool:
        """Whether `wake` would say yes; changes nothing."""
        return self.state.upstream(ref.provider).breaker.may_wake(ref.model, now)

    def least_time(self, target: Target, call: Call) -> float:
        """Seconds that the model usually needs to begin, or else those of the configuration for a further attempt."""
        upstream = target.upstream or self.state.upstream(target.ref.provider)
        typical = upstream.first_outputs.typical(target.ref.model, self.state.clock.monotonic())
        if typical is not None:
            return typical
        return self.config.retry.min_useful if call.trace.attempts else 0.0

    def target_now(self, ref: ModelRef) -> Target | None:
        """The target of *ref*, unless its provider has to be asked for a model first."""
        target = self._targets.get(ref)
        if target is None:
            ref = self.completed(ref)
            target = self.known_target(ref) if ref.model else None
        return target

    async def target(self, ref: ModelRef) -> Target:
        """The target of *ref*, made when it is first asked for."""
        ref = self.completed(ref)
        if not ref.model:
            ref = ModelRef(ref.provider, await self._default_model(ref.provider))
        return self.known_target(ref)

    def may_repeat(self, ref: ModelRef) -> bool:
        """Take one retry out of the budget of the provider of *ref*."""
        return self.state.upstream(ref.provider).budget.withdraw(self.state.clock.monotonic())

    def completed(self, ref: ModelRef) -> ModelRef:
        """*ref* with the provider's default model where it names none and the configuration does."""
        if ref.model:
            return ref
        config = self.config.providers[ref.provider]
        return ModelRef(ref.provider, config.default_model or next(iter(config.models), ""))

    def known_target(self, ref: ModelRef) -> Target:
        """The target of a complete reference."""
        target = self._targets.get(ref)
        if target is None:
            if len(self._targets) >= _TARGETS_KEPT:
                self._forget_passing_targets()
            target = Target(ref, self.provider(ref.provider), self.config.providers[ref.provider])
            target.policy = self.config.parameter_policy
            target.resident = self.state.keeper.resident(ref, target.provider, self.config.residency)
            upstream = target.upstream = self.state.upstream(ref.provider)
            target.handler = self._target_handler(
                self.config,
                target,
                upstream,
                self.state.clock,
                self.state.events,
                self.state.ledger,
                self.state.traffic(ref) if self.router.measures else None,
            )
            self._targets[ref] = target
        return target

    def _forget_passing_targets(self) -> None:
        """Names of models come from callers: what nobody has configured is made again when it is asked for."""
        passing = [ref for ref, target in self._targets.items() if ref.model not in target.config.models]
        for ref in passing[: _TARGETS_KEPT // 2]:
            del self._targets[ref]

    def provider(self, name: str) -> BaseLLMProvider:
        """The provider called *name*.

        Raises:
            UnknownProvider: it is not configured, or is off; the message says which and why.
        """
        provider = self.providers.get(name)
        if provider is None:
            if name in self.disabled:
                raise UnknownProvider(f"provider {name!r} is off: {self.disabled[name]}")
            known = ", ".join(self.providers) or "none"
            raise UnknownProvider(f"no provider named {name!r} is configured; there are: {known}")
        return provider

    async def _default_model(self, name: str) -> str:
        try:
            model = await self.providers[name].resolve_default_model()
        except Exception as error:  # noqa: BLE001 - nothing foreign crosses the public interface
            raise_alone(own_error(error, ModelRef(name, "")))
        if model is None:
            raise ProviderError(
                "model_not_found",
                f"provider {name!r} names no model: set `default_model` or `models` for it",
                code="no_default_model",
                provider=name,
            )
        return model


def _reserves(config: LLMServiceConfig) -> Mapping[str | None, Mapping[str, tuple[ModelRef, ...]]]:
    """What each alias keeps for reasons of failure."""
    references = References(config)
    return {
        name: {reason: references.chain(models) for reason, models in alias.fallback_on.items()}
        for name, alias in config.models.items()
        if alias.fallback_on
    }
