"""llama-server: models behind llama.cpp's own server, with load and unload where it runs as a router."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="llama_server",
    config="core.llm.providers.llama_server.config:LlamaServerConfig",
    provider="core.llm.providers.llama_server.provider:LlamaServerProvider",
    summary="models behind llama.cpp's own server; loaded and unloaded where it runs as a router",
)
