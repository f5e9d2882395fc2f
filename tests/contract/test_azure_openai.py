"""The Azure provider keeps the contract on both chat endpoints, and so does OpenAI's on Responses."""

import pytest

from core.llm.providers.azure_openai.config import AzureOpenAIConfig
from core.llm.providers.azure_openai.provider import AzureOpenAIProvider
from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai.provider import OpenAIProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.openai_upstream import OpenAIUpstream
from tests.contract.responses_upstream import ResponsesUpstream


class TestAzureChat(ProviderContract):
    """The older addresses."""

    @pytest.fixture
    async def upstream(self):
        async with OpenAIUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = AzureOpenAIConfig(base_url=upstream.url, api_key=canary.secret, api_version="2024-10-21", api="chat")
        provider = AzureOpenAIProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()


class OnResponses(ProviderContract):
    """The other endpoint."""

    __test__ = False

    @pytest.fixture
    async def upstream(self):
        async with ResponsesUpstream() as server:
            yield server


class TestAzureResponses(OnResponses):
    """At v1."""

    __test__ = True

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = AzureOpenAIConfig(base_url=upstream.url, api_key=canary.secret, api="responses")
        provider = AzureOpenAIProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()


class TestOpenAIResponses(OnResponses):
    """Every rule, nothing lacking."""

    __test__ = True

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = OpenAIConfig(base_url=upstream.url, api_key=canary.secret, api="responses")
        provider = OpenAIProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
