"""Aliases that mean another model than the configuration says, because somebody has swapped it while it ran."""

from collections.abc import Mapping, Sequence

from core.llm.providers.config.models.aliases import AliasOptions, AliasTarget
from core.llm.providers.config.models.frozen import FrozenDict
from core.llm.providers.config.models.service import LLMServiceConfig


class SwappedAliases:
    """Swaps by alias. One holds until its alias is edited, whatever else of the configuration changes."""

    def __init__(self) -> None:
        self._swaps: dict[str, tuple[AliasOptions, tuple[str, ...]]] = {}

    @property
    def current(self) -> Mapping[str, tuple[str, ...]]:
        """What each swapped alias stands for."""
        return {alias: models for alias, (_, models) in self._swaps.items()}

    def set(self, alias: str, written: AliasOptions, models: Sequence[str]) -> None:
        """Let *alias* stand for *models*, the first before the others, as long as it is *written* like this."""
        self._swaps[alias] = (written, tuple(models))

    def restore(self, alias: str, models: Sequence[str] | None) -> None:
        """Undo a `set`: *models* is what `current` said before it. Nothing where the alias was edited meanwhile."""
        swap = self._swaps.pop(alias, None)
        if swap is not None and models is not None:
            self.set(alias, swap[0], models)

    def prune(self, config: LLMServiceConfig) -> None:
        """Forget swaps of aliases that have been edited: what is written last holds."""
        for alias, (written, _) in tuple(self._swaps.items()):
            if config.models.get(alias) != written:
                del self._swaps[alias]

    def applied(self, config: LLMServiceConfig) -> LLMServiceConfig:
        """*config* with the swapped aliases in it."""
        models = dict(config.models)
        for alias, (written, chosen) in self._swaps.items():
            if models.get(alias) == written:
                use = tuple(AliasTarget(model=model) for model in chosen)
                models[alias] = written.model_copy(update={"use": use, "strategy": "ordered", "sticky_by": None})
        return config.model_copy(update={"models": FrozenDict(models)}) if self._swaps else config
