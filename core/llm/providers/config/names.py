"""The names in a configuration: what an alias, a chain or a default may refer to.

A target is an alias, a provider (its default model), `provider/model`, or the bare name of a model that some provider
lists. Only what certainly leads nowhere is an error: a provider that lists no models may have any.
"""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final, NamedTuple

from core.llm.providers.config.issues import suggest_name
from core.llm.providers.config.models.aliases import AliasOptions
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.providers.config.tree import Path
from core.llm.routing.references import EVERY


class Finding(NamedTuple):
    """Something that is wrong with a valid model."""

    path: Path
    message: str
    advice: str | None
    warning: bool = False
    at_key: bool = False
    """The key itself is wrong, not its value."""


MAX_ALIASES_IN_A_ROW: Final = 20
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")


class Names:
    """Looks names up in one configuration."""

    def __init__(self, config: LLMServiceConfig, provider_names: frozenset[str]) -> None:
        self._config = config
        self.providers = provider_names
        self._listed = {model for provider in config.providers.values() for model in provider.models}

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong with names."""
        config = self._config
        for name in config.providers:
            if not _NAME.fullmatch(name):
                yield Finding(
                    ("providers", name), "is not a good name", "use letters, digits, `-` and `_`", at_key=True
                )
        for name in config.models:
            if name in self.providers:
                yield Finding(
                    ("models", name), "is the name of a provider too", "give the alias another name", at_key=True
                )
            elif not name or "/" in name or name != name.strip():
                yield Finding(("models", name), "is not a good name", "use letters, digits, `-` and `_`", at_key=True)
        if config.default_model is not None:
            yield from self._target(("default_model",), config.default_model)
        for index, entry in enumerate(config.fallback_chain):
            yield from self._target(("fallback_chain", index), entry)
        for alias, options in config.models.items():
            for path, entry in _named_by(alias, options):
                yield from self._target(path, entry)
            if options.shadow is not None:
                yield from self._target(("models", alias, "shadow", "model"), options.shadow.model)
            if options.strategy == "weighted" and not any(target.weight for target in options.use):
                yield Finding(("models", alias, "use"), "every weight is zero", "give one of them a weight")
        for part in ("preload", "pinned"):
            for index, entry in enumerate(getattr(config.residency, part)):
                yield from self._target(("residency", part, index), entry)
        for part in ("devices", "sizes"):
            for entry in getattr(config.residency, part):
                if entry.partition("/")[0] not in self.providers:
                    advice = suggest_name(entry.partition("/")[0], self.providers, "providers")
                    yield Finding(("residency", part, entry), "names no provider", advice, at_key=True)
        yield from self._circles()

    def _target(self, path: Path, name: str) -> Iterator[Finding]:
        config = self._config
        if not name.strip():
            yield Finding(path, "is empty", "name an alias, a `provider/model` or a provider, or take it out")
            return
        if name in config.models or name in self.providers or name in self._listed:
            return
        provider, slash, model = name.partition("/")
        if name == EVERY or (slash and model == EVERY and provider in self.providers):
            listed = config.providers[provider].models if provider in config.providers else self._listed
            if not listed:
                who = f"`{provider}` lists no models" if slash else "no provider lists models"
                yield Finding(path, f"stands for nothing: {who}", "list them under `models` of the provider")
            return
        if not slash or provider not in self.providers:
            unknown = f"`{provider}` is no provider" if slash else f"`{name}` is no alias, provider or listed model"
            candidates = {*config.models, *self.providers, *self._listed}
            if slash:
                candidates |= {f"{other}/{model}" for other in self.providers}
            yield Finding(path, unknown, suggest_name(name, candidates, "known names"))
            return
        if not model:
            yield Finding(path, "names no model after the slash", f"write `{provider}/model`, or `{provider}` alone")
            return
        options = config.providers.get(provider)
        if options is None or not options.models or model in options.models:
            return
        advice = suggest_name(model, options.models, f"models of {provider}")
        if options.closed_models:
            yield Finding(path, f"provider `{provider}` has no model `{model}`", advice)
        elif close := get_close_matches(model, options.models, 1, 0.85):
            message = f"provider `{provider}` does not list a model `{model}`"
            yield Finding(path, message, f"did you mean `{close[0]}`?", warning=True)

    def _circles(self) -> Iterator[Finding]:
        edges = {alias: list(_named_by(alias, options)) for alias, options in self._config.models.items()}
        done: set[str] = set()
        for start in edges:
            yield from self._visit(start, [], edges, done)

    def _visit(
        self, alias: str, chain: list[str], edges: dict[str, list[tuple[Path, str]]], done: set[str]
    ) -> Iterator[Finding]:
        if alias in done:
            return
        chain.append(alias)
        for path, target in edges[alias]:
            if len(chain) > MAX_ALIASES_IN_A_ROW:
                yield Finding(path, f"goes through more than {MAX_ALIASES_IN_A_ROW} aliases", "name a `provider/model`")
            elif target in chain:
                circle = " → ".join([*chain[chain.index(target) :], target])
                yield Finding(path, f"leads in a circle: {circle}", "let one of them name a `provider/model`")
            elif target in edges:
                yield from self._visit(target, chain, edges, done)
        chain.pop()
        done.add(alias)


def _named_by(alias: str, options: AliasOptions) -> Iterator[tuple[Path, str]]:
    """What may answer to *alias*, each with the place that names it."""
    lists: list[tuple[Path, Iterable[str]]] = [
        (("use",), (target.model for target in options.use)),
        *((("classes", kind), (target.model for target in targets)) for kind, targets in options.classes.items()),
        (("fallback",), options.fallback or ()),
        *((("fallback_on", reason), entries) for reason, entries in options.fallback_on.items()),
    ]
    for place, entries in lists:
        for index, entry in enumerate(entries):
            yield ("models", alias, *place, index), entry
