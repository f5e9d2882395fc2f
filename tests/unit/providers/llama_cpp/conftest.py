"""Providers with the real engine and the model that ships with the library."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from core.llm.common.events import ModelEvent
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.llama_cpp.config import LlamaCppConfig
from core.llm.providers.llama_cpp.provider import LlamaCppProvider
from core.llm.testing.services import SimpleResources, provider_services

QUESTION = "What is dependency injection?"


@pytest.fixture
def resources() -> SimpleResources:
    """Where worker processes are held; shared by the providers of a test."""
    return SimpleResources()


@pytest.fixture
async def make_provider(resources: SimpleResources) -> AsyncIterator[Callable[..., Any]]:
    """Start providers that are closed at the end of the test; `.told` holds the events of their models."""
    made: list[LlamaCppProvider] = []

    async def make(models: Any = None, **fields: Any) -> LlamaCppProvider:
        config = LlamaCppConfig(models={"tiny": "embedded"} if models is None else models, **fields)
        services = provider_services("local", resources=resources)
        provider = LlamaCppProvider(config, services)
        told: list[ModelEvent] = []
        services.events.subscribe(told.append, ModelEvent)
        provider.__dict__["told"] = told
        made.append(provider)
        await provider.start()
        return provider

    yield make
    for provider in made:
        await provider.close()


@pytest.fixture
async def provider(make_provider: Callable[..., Any]) -> LlamaCppProvider:
    """The embedded model under the name `tiny`."""
    return await make_provider()


def chat(text: Any = QUESTION, *, model: str = "tiny", stream: bool = False, limits: Any = None, **fields: Any):
    """A request as the pipeline hands it to a provider."""
    from core.llm.common.types import ModelFacts

    extra = fields.pop("raw", {})
    params = LLMRequest(**{"messages": text, "temperature": 0, **fields})
    return ChatRequest(
        "local", model, params, params.messages, ModelFacts(), limits or PhaseLimits(), stream=stream, extra=extra
    )


def texts(*inputs: str, model: str = "tiny", **fields: Any) -> EmbeddingRequest:
    """An embedding request."""
    return EmbeddingRequest("local", model, inputs, PhaseLimits(), **fields)
