"""The custom provider keeps the provider contract, for a model in an engine of the library."""

from collections.abc import AsyncIterator

import pytest

from core.llm.providers.custom.config import CustomConfig
from core.llm.providers.custom.provider import CustomProvider
from core.llm.providers.llama_cpp import local_model
from core.llm.testing import ProviderContract, provider_services
from tests.contract.openai_upstream import OpenAIUpstream


class TestCustom(ProviderContract):
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
    ) -> AsyncIterator[CustomProvider]:
        monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.proxy_llama_worker")
        entry = {"model_path": "embedded", "options": {"n_parallel": 8, "engine": {"url": upstream.url}}}
        provider = CustomProvider(CustomConfig(models={self.model: entry}), provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
