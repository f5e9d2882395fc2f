"""Providers with real torch and a real small model: only where `make test-transformers` says that they are installed."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from core.llm.common.events import ModelEvent
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.transformers.config import TransformersConfig
from core.llm.providers.transformers.provider import TransformersProvider
from core.llm.testing.services import SimpleResources, provider_services
from tests.transformers import tiny

# Torch alone is a gigabyte: it is no part of the development environment, and has a make target of its own.
_ASKED = os.environ.get("CORE_LLM_TRANSFORMERS")
collect_ignore_glob = [] if _ASKED else ["test_*.py"]
# These take minutes: FULL=1 runs them.
collect_ignore = [] if _ASKED == "all" else ["test_cycles.py", "test_model_host.py"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model; to be copied before it is changed."""
    from filelock import FileLock

    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent  # one for all processes of this run
    with FileLock(shared / "tiny.lock"):
        folder = shared / "tiny"
        if not folder.exists():
            tiny.make(shared / "making").rename(folder)
    return folder


@pytest.fixture
async def make_provider(model_folder: Path) -> AsyncIterator[Callable[..., Any]]:
    """Start providers that are closed at the end of the test; `.told` holds the events of their models."""
    made: list[TransformersProvider] = []
    resources = SimpleResources()

    async def make(models: Any = None, **fields: Any) -> TransformersProvider:
        entries = {"tiny": {"path": str(model_folder), "device": "cpu"}} if models is None else models
        config = TransformersConfig(models=entries, **fields)
        services = provider_services("local", resources=resources)
        provider = TransformersProvider(config, services)
        told: list[ModelEvent] = []
        services.events.subscribe(told.append, ModelEvent)
        provider.__dict__["told"] = told
        made.append(provider)
        await provider.start()
        return provider

    yield make
    for provider in made:
        await provider.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provider(model_folder: Path) -> AsyncIterator[TransformersProvider]:
    """The small model under the name `tiny`, loaded once for all tests that only ask it something."""
    entry = {"path": str(model_folder), "device": "cpu", "max_batch": 8, "batch_wait": "50ms"}
    config = TransformersConfig(models={"tiny": entry})
    provider = TransformersProvider(config, provider_services("local", resources=SimpleResources()))
    await provider.start()
    yield provider
    await provider.close()


def chat(text: Any, *, model: str = "tiny", stream: bool = False, limits: Any = None, **fields: Any) -> ChatRequest:
    """A request as the pipeline hands it to a provider; greedy unless it says otherwise."""
    extra = fields.pop("raw", {})
    params = LLMRequest(**{"messages": text, "temperature": 0, **fields})
    return ChatRequest(
        "local", model, params, params.messages, ModelFacts(), limits or PhaseLimits(), stream=stream, extra=extra
    )


def texts(*inputs: str, model: str = "tiny", **fields: Any) -> EmbeddingRequest:
    """An embedding request."""
    return EmbeddingRequest("local", model, inputs, PhaseLimits(), **fields)
