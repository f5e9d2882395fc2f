"""OpenAI itself: Chat Completions, embeddings, model list."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="openai",
    config="core.llm.providers.openai.config:OpenAIConfig",
    provider="core.llm.providers.openai.provider:OpenAIProvider",
    summary="the models of OpenAI",
)
