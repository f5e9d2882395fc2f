"""One immutable world: a configuration, its providers, and the handler that calls go through."""

from collections.abc import Mapping

from core.llm.common.exceptions import ProviderError, UnknownProvider
from core.llm.common.log import log
from core.llm.common.types import ModelRef
from core.llm.pipeline.build import build_handler, build_target_handler
from core.llm.pipeline.fallback import Candidates
from core.llm.pipeline.handler import Call, Handler, raise_alone
from core.llm.pipeline.target import Target
from core.llm.pipeline.terminal import own_error
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.fit import misfit
from core.llm.routing.plan import Plan
from core.llm.routing.router import Router
from core.llm.runtime.sight import RuntimeSight
from core.llm.runtime.state import RuntimeState


class Runtime(Candidates):
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
        self._targets: dict[ModelRef, Target] = {}
        self._told: set[str] = set()
        self.router = self._new_router()
        self.handler: Handler = build_handler(config, self)

    def plan(self, call: Call) -> Plan:
        """The candidates of *call*, with the reasons in its trace."""
        plan = self.router.plan(call.request, call.mode, call.rng)
        call.trace.how = plan.how
        if plan.notes:
            call.trace.notes.extend(plan.notes)
            if plan.warning and plan.warning not in self._told:
                self._told.add(plan.warning)
                log("WARNING", "{}", plan.warning)
        if plan.wanted is not None:
            self.state.want_loaded(plan.wanted)
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

    def misfit(self, ref: ModelRef, call: Call) -> str | None:
        """Why the model of *ref* cannot take *call*, as far as its facts are known."""
        ref = self.completed(ref)
        if not ref.model:
            return None
        return misfit(call.request, call.mode, self.known_target(ref).facts)

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
            target = Target(ref, self.provider(ref.provider), self.config.providers[ref.provider])
            target.policy = self.config.parameter_policy
            target.resident = self.state.keeper.resident(ref, target.provider, self.config.residency)
            upstream = self.state.upstream(ref.provider)
            target.handler = build_target_handler(
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
