"""From the model a caller asks for to the candidates that may answer, in order. Pure over what the sight shows."""

import difflib
import random
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from core.llm.common.exceptions import ConfigError, ConfigIssue, UnknownModel, UnknownProvider
from core.llm.common.types import ModelRef
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.models.aliases import AliasOptions, AliasTarget
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.feedback import bandit, says_worth
from core.llm.routing.functions import NO_FUNCTIONS, RoutingFunctions, UnknownFunction
from core.llm.routing.plan import Plan
from core.llm.routing.pool import Pool
from core.llm.routing.references import References
from core.llm.routing.route import Route
from core.llm.routing.snapshot import Sight, Unseen
from core.llm.routing.strategies.contract import StrategySpec

__all__ = ["Plan", "Router"]

_PLANS_KEPT: Final = 1024


class Router:
    """Plans calls over one configuration. How many calls each alias has planned is its only state."""

    def __init__(
        self, config: LLMServiceConfig, sight: Sight | None = None, functions: RoutingFunctions = NO_FUNCTIONS
    ) -> None:
        """Compile *config*.

        Raises:
            ConfigError: a strategy or classifier does not exist.
        """
        self._config = config
        self._sight = sight or Unseen()
        self._references = References(config)
        self._turns = dict.fromkeys(config.models, 0)
        self._direct: dict[str, Plan] = {}
        self._routes = {name: self._route(name, alias, functions) for name, alias in config.models.items()}
        self.measures = any(route.measures for route in self._routes.values())
        """Whether a strategy wants calls to be measured."""

    def plan(self, request: LLMRequest, mode: str, rng: random.Random, *, peek: bool = False) -> Plan:
        """The candidates of *request*, whose model is an alias, `provider/model`, a model name or `None`.

        With *peek* it is not anybody's turn and no number is drawn: the next real plan will be this one.

        Raises:
            UnknownProvider: the provider that the request names is not configured.
            UnknownModel: nothing is called like its model; the message names what is close.
        """
        route = None
        if request.provider is None:
            name = request.model or self._config.default_model
            route = self._routes.get(name) if name is not None else None
        if route is None:
            return self.members(request.model, request.provider)
        if route.fixed is not None:
            return route.fixed
        turn = self._turns[route.name]
        if peek:
            copied = random.Random()
            copied.setstate(rng.getstate())
            return route.plan(request, mode, copied, turn)
        self._turns[route.name] = turn + 1
        return route.plan(request, mode, rng, turn)

    def members(self, model: str | None, provider: str | None = None) -> Plan:
        """What *model* stands for (at *provider*, or anywhere), as it is configured: no strategy is asked.

        Raises:
            UnknownProvider: as `plan`.
            UnknownModel: as `plan`.
        """
        if provider is not None:
            return self._pinned(model, provider)
        name = model or self._config.default_model
        if name is None:
            return self._without_default()
        route = self._routes.get(name)
        if route is not None:
            return route.members()
        plan = self._direct.get(name)
        if plan is None:
            plan = self._named(name)
            if len(self._direct) < _PLANS_KEPT:
                self._direct[name] = plan
        return plan

    def admits_nobody(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Aliases whose conditions none of their own models meets now, with the reasons; fallbacks do not count."""
        for name, route in self._routes.items():
            choice = route.choice()
            if not choice.first and choice.notes:
                yield name, choice.notes

    def chain(self, entries: Sequence[str]) -> tuple[ModelRef, ...]:
        """References of chain entries: `provider`, `provider/model`, or an alias (its models, not its fallbacks)."""
        return self._references.chain(entries)

    def _route(self, name: str, alias: AliasOptions, functions: RoutingFunctions) -> Route:
        where = () if alias.where is None else (alias.where,)
        after = alias.fallback if alias.fallback is not None else self._config.fallback_chain
        tail = self._references.entries([AliasTarget(model=entry) for entry in after])
        pool = Pool(self._references.entries(alias.use, where), tail)
        classes = {
            kind: Pool(self._references.entries(targets, where), tail) for kind, targets in alias.classes.items()
        }
        try:
            spec = functions.strategy(alias.strategy)
            if alias.strategy == "bandit":
                arms = partial(self._sight.arms, name)
                spec = StrategySpec(bandit(arms, alias.bandit), says_worth(arms))
            classify = functions.classifier(alias.classifier) if alias.classifier is not None else None
        except UnknownFunction as error:
            raise ConfigError([ConfigIssue(str(error), f"models.{name}", suggestion=error.advice)]) from None
        return Route(name, alias, pool, classes, spec, classify, self._sight)

    def _named(self, name: str) -> Plan:
        first, slash, rest = name.partition("/")
        if slash and first in self._config.providers:
            return Plan((ModelRef(first, rest),), f"{name!r} names provider {first!r} and its model {rest!r}")
        owners = self._references.owners(name)
        if owners:
            return Plan(
                tuple(ModelRef(owner, name) for owner in owners), f"model {name!r} is listed by {', '.join(owners)}"
            )
        if name in self._config.providers:
            return Plan((ModelRef(name, ""),), f"{name!r} names a provider: its default model")
        raise UnknownModel(self._unknown(name))

    def _pinned(self, model: str | None, provider: str) -> Plan:
        if provider not in self._config.providers:
            known = ", ".join(self._config.providers) or "none"
            raise UnknownProvider(f"no provider named {provider!r} is configured; there are: {known}")
        if model is None:
            return Plan((ModelRef(provider, ""),), f"provider {provider!r} was asked for: its default model")
        route = self._routes.get(model)
        if route is not None and model not in self._config.providers[provider].models:
            return self._alias_at(route, provider)
        return Plan(
            (ModelRef(provider, model.removeprefix(f"{provider}/")),),
            f"provider {provider!r} and the model were asked for",
        )

    def _alias_at(self, route: Route, provider: str) -> Plan:
        """What an alias has at *provider*; an alias is no name that a provider would know."""
        alias = route.options
        own = dict.fromkeys((*route.own(), *self.chain(alias.fallback or ())))
        candidates = tuple(ref for ref in own if ref.provider == provider)
        if not candidates:
            elsewhere = ", ".join(map(str, own)) or "nothing"
            raise UnknownModel(
                f"alias {route.name!r} has no model at provider {provider!r}: it stands for {elsewhere}. Leave out one "
                "of the two, or name a model of that provider"
            )
        how = f"alias {route.name!r}, only at provider {provider!r}"
        return Plan(candidates, how, alias.defaults, route.name)

    def _without_default(self) -> Plan:
        chain = self.chain(self._config.fallback_chain)
        if chain:
            return Plan(chain, "no default_model is set: fallback_chain")
        if self._config.providers:
            return Plan(
                tuple(ModelRef(name, "") for name in self._config.providers),
                "no default_model is set: providers in order",
            )
        raise UnknownModel("no provider is configured: add one under llm_service.providers")

    def _unknown(self, name: str) -> str:
        known = [*self._config.models, *self._references.listed, *self._config.providers]
        close = difflib.get_close_matches(name, known, n=3)
        if close:
            hint = f"Did you mean {' or '.join(map(repr, close))}?"
        elif self._config.models:
            hint = f"Known aliases: {', '.join(self._config.models)}."
        else:
            models = [f"{provider}/{model}" for provider, one in self._config.providers.items() for model in one.models]
            hint = f"Known models: {', '.join(models[:20]) or 'none is listed under a provider'}."
        return f"nothing is called {name!r}: no alias, no provider/model, no model listed by a provider. {hint}"
