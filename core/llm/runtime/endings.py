"""Models of a configuration that will be shut down: said when it is loaded, before calls begin to fail."""

from collections.abc import Iterator

from core.llm.common.exceptions import ConfigIssue
from core.llm.common.types import ModelRef
from core.llm.pipeline.target import merge_facts
from core.llm.runtime.runtime import Runtime


def model_endings(runtime: Runtime) -> Iterator[ConfigIssue]:
    """One warning for each place of the configuration that names such a model. Asks nobody."""
    config = runtime.config
    listed: set[ModelRef] = set()
    for name in runtime.providers:
        options = config.providers[name]
        for model in options.models:
            ref = ModelRef(name, model)
            listed.add(ref)
            yield from _ending(runtime, ref, f"providers.{name}.models.{model}")
        if options.default_model is not None and options.default_model not in options.models:
            yield from _ending(runtime, ModelRef(name, options.default_model), f"providers.{name}.default_model")
    for alias, wanted in config.models.items():
        chains = (("use", [target.model for target in wanted.use]), ("fallback", wanted.fallback or ()))
        for part, entries in chains:
            for entry in entries:
                for ref in runtime.router.chain([entry]):
                    # What another alias stands for is told there; what a provider lists, at the provider.
                    if ref.model and ref not in listed and entry not in config.models:
                        yield from _ending(runtime, ref, f"models.{alias}.{part}")


def _ending(runtime: Runtime, ref: ModelRef, path: str) -> Iterator[ConfigIssue]:
    provider = runtime.providers.get(ref.provider)
    if provider is None:
        return
    facts = merge_facts(provider.facts(ref.model), runtime.config.providers[ref.provider].models.get(ref.model))
    text = facts.ending(ref.model)
    if text is not None:
        yield ConfigIssue(text, path, severity="warning")
