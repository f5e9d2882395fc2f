"""Any server that speaks the OpenAI format."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="openai_compatible",
    config="core.llm.providers.openai_compatible.config:OpenAICompatibleConfig",
    provider="core.llm.providers.openai_compatible.provider:OpenAICompatibleProvider",
    summary="any server that speaks the OpenAI format: vLLM, llama-server, Groq, OpenRouter and the like",
)
