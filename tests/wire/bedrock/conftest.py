"""A strict local Bedrock, and providers that talk to it with an API key or with signatures."""

from collections.abc import AsyncIterator

import pytest

from core.llm.providers.bedrock.config import BedrockConfig
from core.llm.providers.bedrock.provider import BedrockProvider
from core.llm.testing import FakeClock, provider_services
from core.llm.testing.bedrock_server import BedrockServer
from tests.wire.bedrock.support import KEY


@pytest.fixture
async def server() -> AsyncIterator[BedrockServer]:
    async with BedrockServer(api_key=KEY, clock=FakeClock()) as server:
        yield server


@pytest.fixture
def make(server, started):
    """Start a provider with some configuration; it is closed at the end."""

    async def start(clock=None, **config) -> BedrockProvider:
        config = {"base_url": server.url, "region": "us-east-1", **config}
        return await started(
            BedrockProvider(BedrockConfig(**config), provider_services("bedrock", clock=clock or server.clock))
        )

    return start


@pytest.fixture
def signed(server) -> dict[str, str]:
    """Configuration of an account whose signatures the server accepts."""
    return {"access_key_id": server.account.access_key, "secret_access_key": server.account.secret_key}
