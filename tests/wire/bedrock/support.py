"""Requests as the pipeline hands them to the Bedrock provider."""

from core.llm.common.types import PhaseLimits
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.bedrock.provider import BedrockProvider

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
KEY = "bedrock-api-key-0123456789"


def chat(
    provider: BedrockProvider, messages="hello", *, model=CLAUDE, stream=False, key=None, extra=None, **params
) -> ChatRequest:
    """A request as the pipeline hands it to the provider."""
    asked = LLMRequest(messages=messages, **params)
    limits = PhaseLimits(connect=5.0, first_token=5.0, idle=5.0, progress=5.0)
    return ChatRequest(
        provider.name, model, asked, asked.messages, provider.facts(model), limits, key, stream, extra or {}
    )


def texts(provider: BedrockProvider, model: str, *inputs: str, key=KEY, **options) -> EmbeddingRequest:
    """An embedding request."""
    return EmbeddingRequest(provider.name, model, inputs, PhaseLimits(connect=5.0), api_key=key, **options)
