"""From the names in a configuration to the models they stand for."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from core.llm.common.types import ModelRef
from core.llm.providers.config.models.aliases import AliasTarget, WhereOptions
from core.llm.providers.config.models.service import LLMServiceConfig

EVERY: Final = "*"
"""All models that providers list; `provider/*` is all that one lists."""


class Entry(NamedTuple):
    """One model behind a name."""

    ref: ModelRef
    weight: float = 1.0
    where: tuple[WhereOptions, ...] = ()
    """Conditions of the aliases through which the name led here."""


class References:
    """Looks names up in one configuration: an alias, a provider, `provider/model`, a listed model, or `*`."""

    def __init__(self, config: LLMServiceConfig) -> None:
        self._config = config
        self._owners: dict[str, tuple[str, ...]] = {}
        for name, provider in config.providers.items():
            for model in provider.models:
                self._owners[model] = (*self._owners.get(model, ()), name)

    @property
    def listed(self) -> Iterable[str]:
        """Every model that some provider lists."""
        return self._owners

    def owners(self, model: str) -> tuple[str, ...]:
        """The providers that list *model*."""
        return self._owners.get(model, ())

    def chain(self, names: Sequence[str]) -> tuple[ModelRef, ...]:
        """The models behind *names*, in order."""
        return tuple(entry.ref for entry in self.entries([AliasTarget(model=name) for name in names]))

    def entries(self, targets: Iterable[AliasTarget], where: tuple[WhereOptions, ...] = ()) -> tuple[Entry, ...]:
        """The models behind *targets*. What stands for several models shares its weight among them.

        Of another alias these are its models, on its conditions; not its strategy, and not its fallbacks.
        """
        found: list[Entry] = []
        for target in targets:
            found += self._entries(target, where)
        return tuple(found)

    def _entries(self, target: AliasTarget, where: tuple[WhereOptions, ...]) -> Sequence[Entry]:
        name, weight = target.model, target.weight
        alias = self._config.models.get(name)
        if alias is not None:
            inner = [other for other in alias.use if other.model != name]
            total = sum(other.weight for other in inner) or 1.0
            conditions = where if alias.where is None else (*where, alias.where)
            return [entry._replace(weight=weight * entry.weight / total) for entry in self.entries(inner, conditions)]
        refs = self._refs(name)
        return [Entry(ref, weight / len(refs), where) for ref in refs]

    def _refs(self, name: str) -> list[ModelRef]:
        providers = self._config.providers
        if name == EVERY:
            return [ModelRef(owner, model) for owner, provider in providers.items() for model in provider.models]
        first, slash, rest = name.partition("/")
        if slash and first in providers:
            if rest == EVERY:
                return [ModelRef(first, model) for model in providers[first].models]
            return [ModelRef(first, rest)]
        if name in providers:
            return [ModelRef(name, "")]
        return [ModelRef(owner, name) for owner in self.owners(name)]
