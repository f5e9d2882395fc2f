"""Acme keeps the contract that every provider keeps: some forty rules, none of them written here."""

from collections.abc import AsyncIterator

import pytest
from acme_provider.provider import AcmeConfig, AcmeProvider
from acme_server import AcmeServer

from core.llm.testing import ProviderContract, SecretCanary, provider_services


class TestAcme(ProviderContract):
    """What Acme cannot do is named; the rules about it are left out."""

    lacks = frozenset({"broken_arguments", "embeddings", "json_schema", "parallel_tools", "thinking", "tools"})
    usage_buckets = frozenset({"input", "output"})

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[AcmeServer]:
        """A server that plays Acme."""
        async with AcmeServer() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream: AcmeServer, canary: SecretCanary) -> AsyncIterator[AcmeProvider]:
        """The provider, talking to it."""
        config = AcmeConfig(base_url=upstream.url, api_key=canary.secret)
        provider = AcmeProvider(config, provider_services("acme"))
        await provider.start()
        yield provider
        await provider.close()
