"""LM Studio: models on a desktop or server, loaded, unloaded and downloaded through its REST API."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="lm_studio",
    config="core.llm.providers.lm_studio.config:LMStudioConfig",
    provider="core.llm.providers.lm_studio.provider:LMStudioProvider",
    summary="models on an LM Studio server, with load, unload and download",
)
