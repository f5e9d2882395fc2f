"""A strict server, and our provider in front of it."""

from collections.abc import AsyncIterator

import pytest

from core.llm.providers.anthropic.config import AnthropicConfig
from core.llm.providers.anthropic.provider import AnthropicProvider
from core.llm.testing import provider_services
from core.llm.testing.anthropic_server import AnthropicServer

KEY = "sk-ant-test-0123456789"


@pytest.fixture
async def server() -> AsyncIterator[AnthropicServer]:
    async with AnthropicServer(api_key=KEY) as running:
        yield running


@pytest.fixture
async def provider(server: AnthropicServer) -> AsyncIterator[AnthropicProvider]:
    config = AnthropicConfig(type="anthropic", base_url=f"{server.url}/v1/", api_key=KEY, betas=("beta-1",))
    provider = AnthropicProvider(config, provider_services("anthropic"))
    await provider.start()
    yield provider
    await provider.close()
