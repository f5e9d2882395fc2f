"""A scripted Ollama server, a real transport to it, and the client and provider that are tested against it."""

from collections.abc import AsyncIterator

import pytest

from core.llm.common.events import EventBus
from core.llm.providers.ollama.client import OllamaClient
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.provider import OllamaProvider
from core.llm.testing import provider_services
from core.llm.testing.ollama_script import OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from core.llm.transport.http import HttpTransport
from core.llm.transport.http_options import HttpOptions

CHAT = OllamaModelSpec("tiny", ("completion", "tools", "thinking", "insert"), size=1_000_000)
EMBED = OllamaModelSpec("embedder", ("embedding",), size=500_000, dimensions=6, context_length=16)


@pytest.fixture
async def server() -> AsyncIterator[OllamaServer]:
    async with OllamaServer(EMBED, CHAT) as server:
        yield server


@pytest.fixture
async def client(server: OllamaServer) -> AsyncIterator[OllamaClient]:
    transport = HttpTransport(HttpOptions(server.url))
    yield OllamaClient(lambda: transport)
    await transport.close()


@pytest.fixture
def make(server: OllamaServer, started):
    """Start a provider with some configuration; it is closed at the end."""

    async def start(events: EventBus | None = None, **config) -> OllamaProvider:
        settings = OllamaConfig(**{"base_url": server.url, **config})
        return await started(OllamaProvider(settings, provider_services("ollama", events=events)))

    return start


@pytest.fixture
async def provider(make) -> OllamaProvider:
    return await make()
