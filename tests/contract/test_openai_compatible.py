"""A server that speaks the OpenAI format, without any knowledge of which one it is, keeps the contract."""

import pytest

from core.llm.providers.openai_compatible.config import OpenAICompatibleConfig
from core.llm.providers.openai_compatible.provider import OpenAICompatibleProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.openai_upstream import OpenAIUpstream


class TestOpenAICompatible(ProviderContract):
    """Every rule, nothing lacking."""

    @pytest.fixture
    async def upstream(self):
        async with OpenAIUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = OpenAICompatibleConfig(type="openai_compatible", base_url=upstream.url, api_key=canary.secret)
        provider = OpenAICompatibleProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
