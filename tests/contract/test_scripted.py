"""The scripted provider keeps the contract that it is used to test others with."""

import pytest

from core.llm.testing import ProviderContract
from tests.contract.scripted_upstream import ScriptedUpstream, SteeredProvider


class TestScripted(ProviderContract):
    """Every rule, nothing lacking."""

    @pytest.fixture
    def upstream(self):
        return ScriptedUpstream()

    @pytest.fixture
    async def provider(self, upstream):
        provider = SteeredProvider(upstream)
        await provider.start()
        yield provider
        await provider.close()
