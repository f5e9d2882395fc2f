"""Azure OpenAI and Azure AI Foundry: OpenAI's two chat endpoints behind deployments of one's own."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="azure_openai",
    config="core.llm.providers.azure_openai.config:AzureOpenAIConfig",
    provider="core.llm.providers.azure_openai.provider:AzureOpenAIProvider",
    summary="deployments at Azure OpenAI or Azure AI Foundry",
    extra="azure",
)
