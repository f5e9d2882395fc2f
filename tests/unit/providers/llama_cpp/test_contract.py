"""The provider for local models keeps the provider contract, through a real worker process."""

from collections.abc import AsyncIterator

import pytest

from core.llm.providers.llama_cpp import local_model
from core.llm.providers.llama_cpp.config import LlamaCppConfig
from core.llm.providers.llama_cpp.provider import LlamaCppProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.openai_upstream import OpenAIUpstream


class TestLlamaCpp(ProviderContract):
    """An engine knows no keys, no rate limits and no network, and does not think."""

    lacks = frozenset({"api_key", "unauthorised", "rate_limited", "unreachable", "thinking"})
    usage_buckets = frozenset({"input", "cache_read", "output"})

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[OpenAIUpstream]:
        async with OpenAIUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(
        self, upstream: OpenAIUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[LlamaCppProvider]:
        monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.proxy_llama_worker")
        entry = {"path": "embedded", "n_parallel": 8, "engine": {"url": upstream.url}}
        provider = LlamaCppProvider(LlamaCppConfig(models={self.model: entry}), provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
