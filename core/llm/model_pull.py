"""Models on the disk of the server that serves them: downloaded, or found there."""

from typing import TYPE_CHECKING

from core.llm.asking import asked
from core.llm.common.exceptions import ModelNotReady, ProviderError, UnsupportedFeature
from core.llm.common.log import log
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import (
    ModelInfo,
    ModelLister,
    ModelPuller,
    ProgressCallback,
    PullRules,
    PullStrategy,
)

if TYPE_CHECKING:
    from core.llm.runtime.runtime import Runtime


async def pull_model(runtime: "Runtime", ref: ModelRef, progress: ProgressCallback | None) -> ModelInfo:
    """See `ModelManager.pull`."""
    puller = runtime.provider(ref.provider)
    if not isinstance(puller, ModelPuller):
        raise UnsupportedFeature(f"provider {ref.provider!r} cannot download models")
    return await asked(puller.pull_model(ref.model, progress), ref)


async def installed_model(
    runtime: "Runtime", ref: ModelRef, progress: ProgressCallback | None, pull: PullStrategy | None
) -> ModelInfo:
    """See `ModelManager.ensure_model_available`."""
    if pull == "always":
        return await pull_model(runtime, ref, progress)
    provider = runtime.provider(ref.provider)
    configured = provider.pull_strategy(ref.model) if isinstance(provider, PullRules) else None
    strategy = pull or configured or "when_missing"
    if not isinstance(provider, ModelLister):
        raise UnsupportedFeature(f"provider {ref.provider!r} cannot list its models")
    names = {ref.model, f"{ref.model}:latest"}
    installed = next((info for info in await asked(provider.list_models(), ref) if info.name in names), None)
    if installed is None and strategy == "never":
        raise ModelNotReady(
            f"{ref} is not installed: pull it, or allow it with pull='when_missing' here or in the configuration",
            model=str(ref),
        )
    if installed is not None and strategy != "always":
        return installed
    try:
        return await pull_model(runtime, ref, progress)
    except ProviderError as error:
        if installed is None:
            raise
        log("WARNING", "{}: the installed version is used, a newer one could not be looked for: {}", ref, error)
        return installed
