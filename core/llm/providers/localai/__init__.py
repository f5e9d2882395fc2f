"""LocalAI: models on a server of one's own, loaded, shut down and installed from its gallery."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="localai",
    config="core.llm.providers.localai.config:LocalAIConfig",
    provider="core.llm.providers.localai.provider:LocalAIProvider",
    summary="models on a LocalAI server, with load, unload and installation from its gallery",
)
