"""From the model a caller asks for to the candidates that may answer, in order. Pure."""

import difflib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from core.llm.common.exceptions import UnknownModel, UnknownProvider
from core.llm.common.types import ModelRef
from core.llm.providers.config.models.aliases import AliasOptions, AliasTarget
from core.llm.providers.config.models.service import LLMServiceConfig


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates in the order in which they are tried.

    A candidate whose model is empty stands for whatever the provider's default model is at that moment.
    """

    candidates: tuple[ModelRef, ...]
    how: str
    """How the request was understood, for people."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Request fields that the alias sets unless the caller does."""


_PLANS_KEPT: Final = 1024


class Router:
    """Plans calls over one configuration. Round-robin positions are its only state that matters."""

    def __init__(self, config: LLMServiceConfig) -> None:
        self._config = config
        self._turns = dict.fromkeys(config.models, 0)
        self._direct: dict[str, Plan] = {}
        self._owners: dict[str, tuple[str, ...]] = {}
        for name, provider in config.providers.items():
            for model in provider.models:
                self._owners[model] = (*self._owners.get(model, ()), name)

    def plan(self, model: str | None, provider: str | None, rng: random.Random, *, peek: bool = False) -> Plan:
        """The candidates for *model* (alias, `provider/model`, model name, or `None`) at *provider* (or anywhere).

        With *peek* it is not anybody's turn: the next real plan will be this one.

        Raises:
            UnknownProvider: *provider* is not configured.
            UnknownModel: nothing is called *model*; the message names what is close.
        """
        if provider is not None:
            return self._pinned(model, provider)
        name = model or self._config.default_model
        if name is None:
            return self._without_default()
        alias = self._config.models.get(name)
        if alias is not None:
            return self._alias(name, alias, rng, peek=peek)
        plan = self._direct.get(name)
        if plan is None:
            plan = self._named(name)
            if len(self._direct) < _PLANS_KEPT:
                self._direct[name] = plan
        return plan

    def _named(self, name: str) -> Plan:
        first, slash, rest = name.partition("/")
        if slash and first in self._config.providers:
            return Plan((ModelRef(first, rest),), f"{name!r} names provider {first!r} and its model {rest!r}")
        owners = self._owners.get(name)
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
        alias = self._config.models.get(model)
        if alias is not None and model not in self._config.providers[provider].models:
            return self._alias_at(model, alias, provider)
        return Plan(
            (ModelRef(provider, model.removeprefix(f"{provider}/")),),
            f"provider {provider!r} and the model were asked for",
        )

    def _alias_at(self, name: str, alias: AliasOptions, provider: str) -> Plan:
        """What *alias* has at *provider*; an alias is no name that a provider would know."""
        chain = self.chain([*(target.model for target in alias.use), *(alias.fallback or ())])
        candidates = tuple(dict.fromkeys(ref for ref in chain if ref.provider == provider))
        if not candidates:
            elsewhere = ", ".join(map(str, dict.fromkeys(chain))) or "nothing"
            raise UnknownModel(
                f"alias {name!r} has no model at provider {provider!r}: it stands for {elsewhere}. Leave out one of "
                "the two, or name a model of that provider"
            )
        return Plan(candidates, f"alias {name!r}, only at provider {provider!r}", alias.defaults)

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

    def _alias(self, name: str, alias: AliasOptions, rng: random.Random, *, peek: bool) -> Plan:
        first = self._ordered(name, alias, rng, peek=peek)
        rest = alias.fallback if alias.fallback is not None else self._config.fallback_chain
        candidates = dict.fromkeys((*self.chain(first), *self.chain(rest)))
        # A provider's default model adds nothing where that provider is already there with a model of its own.
        named = {ref.provider for ref in candidates if ref.model}
        return Plan(
            tuple(ref for ref in candidates if ref.model or ref.provider not in named),
            f"alias {name!r} ({alias.strategy})",
            alias.defaults,
        )

    def _ordered(self, name: str, alias: AliasOptions, rng: random.Random, *, peek: bool) -> list[str]:
        models = [target.model for target in alias.use]
        if alias.strategy == "round_robin":
            turn = self._turns[name] % len(models)
            if not peek:
                self._turns[name] += 1
            return models[turn:] + models[:turn]
        if alias.strategy == "weighted":
            return weighted_order(alias.use, rng)
        return models

    def chain(self, entries: Sequence[str]) -> tuple[ModelRef, ...]:
        """References of chain entries: `provider`, `provider/model`, or an alias (its models, not its fallbacks)."""
        refs: list[ModelRef] = []
        for entry in entries:
            alias = self._config.models.get(entry)
            if alias is not None:
                refs.extend(self.chain([target.model for target in alias.use if target.model != entry]))
                continue
            first, slash, rest = entry.partition("/")
            if slash and first in self._config.providers:
                refs.append(ModelRef(first, rest))
            elif entry in self._config.providers:
                refs.append(ModelRef(entry, ""))
            else:
                refs.extend(ModelRef(owner, entry) for owner in self._owners.get(entry, ()))
        return tuple(refs)

    def _unknown(self, name: str) -> str:
        known = [*self._config.models, *self._owners, *self._config.providers]
        close = difflib.get_close_matches(name, known, n=3)
        hint = (
            f"Did you mean {' or '.join(map(repr, close))}?"
            if close
            else f"Known aliases: {', '.join(self._config.models) or 'none'}."
        )
        return f"nothing is called {name!r}: no alias, no provider/model, no model listed by a provider. {hint}"


def weighted_order(targets: Sequence[AliasTarget], rng: random.Random) -> list[str]:
    """All models, each place drawn by weight among those left; weight 0 comes last."""
    left = list(targets)
    order: list[str] = []
    while left:
        total = sum(target.weight for target in left)
        if total <= 0:
            order.extend(target.model for target in left)
            break
        point = rng.random() * total
        for index, target in enumerate(left):
            point -= target.weight
            if point < 0 or index == len(left) - 1:
                order.append(left.pop(index).model)
                break
    return order
