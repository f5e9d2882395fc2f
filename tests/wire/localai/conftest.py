"""Providers that talk to scripted LocalAI servers over real HTTP."""

import pytest

from core.llm.common.events import EventBus
from core.llm.providers.localai.config import LocalAIConfig
from core.llm.providers.localai.provider import LocalAIProvider
from core.llm.testing import FakeClock, provider_services
from core.llm.testing.localai_server import LocalAIModelSpec, LocalAIServer


@pytest.fixture
async def serve():
    """Start a server with two models, and with the switches of the test; it is stopped at the end."""
    running: list[LocalAIServer] = []

    async def start(**switches) -> LocalAIServer:
        models = (
            LocalAIModelSpec("embedder", ("embeddings",), context_size=512),
            LocalAIModelSpec("tiny"),
            LocalAIModelSpec("seer", ("chat", "vision")),
        )
        server = LocalAIServer(*models, **{"clock": FakeClock(), **switches})
        await server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        await server.stop()


@pytest.fixture
def make(started):
    """Start a provider for a server; it is closed at the end."""

    async def start(server: LocalAIServer, events: EventBus | None = None, clock=None, **config) -> LocalAIProvider:
        settings = LocalAIConfig(**{"base_url": server.url, **config})
        return await started(LocalAIProvider(settings, provider_services("localai", events=events, clock=clock)))

    return start
