"""AWS Bedrock: every model behind the Converse API, with AWS signatures or an API key."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="bedrock",
    config="core.llm.providers.bedrock.config:BedrockConfig",
    provider="core.llm.providers.bedrock.provider:BedrockProvider",
    summary="models on AWS Bedrock: Claude, Nova, Llama, Mistral, gpt-oss and more through one API",
    extra="bedrock",
)
