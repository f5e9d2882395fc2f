"""The LocalAI provider keeps the contract, over a real connection to a local server."""

import pytest

from core.llm.providers.localai.config import LocalAIConfig
from core.llm.providers.localai.provider import LocalAIProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.openai_upstream import OpenAIUpstream


class TestLocalAI(ProviderContract):
    """Every rule, in the OpenAI format."""

    @pytest.fixture
    async def upstream(self):
        async with OpenAIUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = LocalAIConfig(type="localai", base_url=upstream.url, api_key=canary.secret)
        provider = LocalAIProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
