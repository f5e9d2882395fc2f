"""The Ollama provider keeps the contract, over a real connection to a local server."""

import pytest

from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.provider import OllamaProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.ollama_upstream import OllamaUpstream


class TestOllama(ProviderContract):
    """Tool arguments arrive as objects, so a model cannot write them wrong; reasoning tokens are not counted apart."""

    lacks = frozenset({"broken_arguments"})
    usage_buckets = frozenset({"input", "output"})

    @pytest.fixture
    async def upstream(self):
        async with OllamaUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = OllamaConfig(type="ollama", base_url=upstream.url, api_key=canary.secret)
        provider = OllamaProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
