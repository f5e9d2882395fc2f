"""The Gemini provider keeps the contract, over a real connection to a local server."""

import pytest

from core.llm.providers.gemini.config import GeminiConfig
from core.llm.providers.gemini.provider import GeminiProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.gemini_upstream import GeminiUpstream


class TestGemini(ProviderContract):
    """Every rule but one: arguments travel as an object, so that a model cannot write them wrong."""

    lacks = frozenset({"broken_arguments"})

    @pytest.fixture
    async def upstream(self):
        async with GeminiUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = GeminiConfig(type="gemini", base_url=upstream.url, api_key=canary.secret)
        provider = GeminiProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()


class TestVertexWithKey(TestGemini):
    """The same at Vertex AI's addresses."""

    # There, older models are asked for vectors in another way, which has tests of its own.
    lacks = frozenset({"broken_arguments", "embeddings"})

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = GeminiConfig(type="gemini", base_url=upstream.url, api_key=canary.secret, vertex={"project": "p"})
        provider = GeminiProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
