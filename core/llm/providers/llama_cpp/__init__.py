"""llama.cpp: GGUF model files on this machine, each in a worker process of its own; the embedded model is one."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="llama_cpp",
    config="core.llm.providers.llama_cpp.config:LlamaCppConfig",
    provider="core.llm.providers.llama_cpp.provider:LlamaCppProvider",
    summary="GGUF files on this machine, the small embedded model among them",
    extra="local",
    local=True,
)
