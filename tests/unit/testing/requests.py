"""Requests for the tests of the test kit."""

from typing import Any

from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest


def chat(text: str = "hello there", **params: Any) -> ChatRequest:
    """A request with one user message."""
    asked = LLMRequest(messages=text, **params)
    return ChatRequest("scripted", "tiny", asked, asked.messages, ModelFacts(), PhaseLimits())


def embedding(*texts: str, dimensions: int | None = None) -> EmbeddingRequest:
    """A request for the vectors of *texts*."""
    return EmbeddingRequest("scripted", "tiny", texts, PhaseLimits(), dimensions)
