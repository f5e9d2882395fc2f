"""The llama-server provider keeps the contract, over a real connection to a local server."""

import pytest

from core.llm.providers.llama_server.config import LlamaServerConfig
from core.llm.providers.llama_server.provider import LlamaServerProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.openai_upstream import OpenAIUpstream


class TestLlamaServer(ProviderContract):
    """Every rule, in the OpenAI format."""

    @pytest.fixture
    async def upstream(self):
        async with OpenAIUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = LlamaServerConfig(type="llama_server", base_url=upstream.url, api_key=canary.secret)
        provider = LlamaServerProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
