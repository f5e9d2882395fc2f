"""Requests for the tests of LM Studio and of LocalAI, and a wait for what happens elsewhere."""

import asyncio
from collections.abc import Callable
from typing import Any

from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest

LIMITS = PhaseLimits(connect=5, first_token=10, idle=10, progress=10)


def chat_request(
    messages: Any = "hi",
    *,
    model: str = "tiny",
    stream: bool = False,
    api_key: str | None = None,
    extra: dict[str, Any] | None = None,
    limits: PhaseLimits = LIMITS,
    **params: Any,
) -> ChatRequest:
    """A request as the pipeline hands it to a provider."""
    asked = LLMRequest(messages=messages, **params)
    return ChatRequest("local", model, asked, asked.messages, ModelFacts(), limits, api_key, stream, extra or {})


def embedding_request(*texts: str, model: str = "embedder", **fields: Any) -> EmbeddingRequest:
    """Texts as the pipeline hands them to a provider."""
    return EmbeddingRequest("local", model, texts, LIMITS, **fields)


async def until(condition: Callable[[], Any], timeout: float = 2.0) -> None:
    """Return once *condition* holds."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)
