"""The Anthropic provider keeps the contract, over a real connection to a local server."""

import pytest

from core.llm.providers.anthropic.config import AnthropicConfig
from core.llm.providers.anthropic.provider import AnthropicProvider
from core.llm.testing import ProviderContract, UpstreamAnswer, provider_services
from tests.contract.anthropic_upstream import AnthropicUpstream


class TestAnthropic(ProviderContract):
    """Every rule but embeddings, which Anthropic does not offer."""

    lacks = frozenset({"embeddings"})
    usage_buckets = frozenset({"input", "cache_read", "cache_write", "output", "reasoning"})

    @pytest.fixture
    async def upstream(self):
        async with AnthropicUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = AnthropicConfig(type="anthropic", base_url=upstream.url, api_key=canary.secret)
        provider = AnthropicProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()

    async def test_nothing_is_sent_that_was_not_set(self, provider, upstream, canary):
        """But for the one field that the API refuses to go without."""
        upstream.answer(UpstreamAnswer())
        await provider.generate(self.chat(canary))
        assert upstream.received[-1].keys() == {"model", "messages", "max_tokens"}
