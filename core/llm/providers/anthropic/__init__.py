"""Anthropic itself: Messages, token counting, model list."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="anthropic",
    config="core.llm.providers.anthropic.config:AnthropicConfig",
    provider="core.llm.providers.anthropic.provider:AnthropicProvider",
    summary="the Claude models of Anthropic",
)
