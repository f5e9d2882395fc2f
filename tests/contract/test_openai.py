"""The OpenAI provider keeps the contract, over a real connection to a local server."""

import pytest

from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai.provider import OpenAIProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.openai_upstream import OpenAIUpstream


class TestOpenAI(ProviderContract):
    """Every rule, nothing lacking."""

    @pytest.fixture
    async def upstream(self):
        async with OpenAIUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = OpenAIConfig(type="openai", base_url=upstream.url, api_key=canary.secret)
        provider = OpenAIProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
