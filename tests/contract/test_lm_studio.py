"""The LMStudio provider keeps the contract, over a real connection to a local server."""

import pytest

from core.llm.providers.lm_studio.config import LMStudioConfig
from core.llm.providers.lm_studio.provider import LMStudioProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.openai_upstream import OpenAIUpstream


class LMStudioUpstream(OpenAIUpstream):
    """Its native model list as well."""

    def lookup(self, path: str) -> bytes:
        return b'{"models": []}' if path == "/api/v1/models" else super().lookup(path)


class TestLMStudio(ProviderContract):
    """Every rule, in the OpenAI format."""

    @pytest.fixture
    async def upstream(self):
        async with LMStudioUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = LMStudioConfig(type="lm_studio", base_url=upstream.url, api_key=canary.secret)
        provider = LMStudioProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
