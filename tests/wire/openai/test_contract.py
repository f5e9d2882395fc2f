"""Both providers keep the provider contract, against a real server on a real socket."""

from collections.abc import AsyncIterator

import pytest

from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai.provider import OpenAIProvider
from core.llm.providers.openai_compatible.config import OpenAICompatibleConfig
from core.llm.providers.openai_compatible.provider import OpenAICompatibleProvider
from core.llm.providers.openai_style import OpenAIStyleProvider
from core.llm.testing import ProviderContract, provider_services
from tests.wire.openai.upstream import OpenAIUpstream


class OnASocket(ProviderContract):
    """What both have in common."""

    __test__ = False

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[OpenAIUpstream]:
        async with OpenAIUpstream() as server:
            yield server


class TestOpenAI(OnASocket):
    __test__ = True

    @pytest.fixture
    async def provider(self, upstream: OpenAIUpstream) -> AsyncIterator[OpenAIStyleProvider]:
        provider = OpenAIProvider(OpenAIConfig(base_url=upstream.url), provider_services("openai"))
        await provider.start()
        yield provider
        await provider.close()


class TestOpenAICompatible(OnASocket):
    __test__ = True

    @pytest.fixture
    async def provider(self, upstream: OpenAIUpstream) -> AsyncIterator[OpenAIStyleProvider]:
        provider = OpenAICompatibleProvider(OpenAICompatibleConfig(base_url=upstream.url), provider_services("acme"))
        await provider.start()
        yield provider
        await provider.close()
