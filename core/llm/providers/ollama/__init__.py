"""Ollama: models on a server of one's own, loaded, unloaded and pulled through its API."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="ollama",
    config="core.llm.providers.ollama.config:OllamaConfig",
    provider="core.llm.providers.ollama.provider:OllamaProvider",
    summary="models on an Ollama server, with load, unload and pull",
    client="core.llm.providers.ollama.client:OllamaClient",
)
