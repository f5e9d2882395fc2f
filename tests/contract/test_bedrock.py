"""The Bedrock provider keeps the contract, over a real connection to a local server."""

from dataclasses import replace

import pytest

from core.llm.common.types import ModelFacts
from core.llm.providers.bedrock.config import BedrockConfig
from core.llm.providers.bedrock.provider import BedrockProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.bedrock_upstream import BedrockUpstream


class TestBedrock(ProviderContract):
    """With an API key; in whole answers the arguments of tools are JSON values, so a model cannot write them wrong."""

    model = "cohere.contract-model"
    usage_buckets = frozenset({"input", "cache_read", "cache_write", "output"})
    lacks = frozenset({"broken_arguments"})

    def chat(self, canary=None, *texts, **params):
        # A model that takes forced tools and a schema; nothing is known of its thinking.
        request = super().chat(canary, *texts, **params)
        return replace(request, facts=ModelFacts(quirks={"top_k": "k"}))

    @pytest.fixture
    async def upstream(self):
        async with BedrockUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(self, upstream, canary):
        config = BedrockConfig(type="bedrock", region="us-east-1", base_url=upstream.url, api_key=canary.secret)
        provider = BedrockProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()


class TestBedrockSigned(TestBedrock):
    """With signatures: the secret key and the session token show nowhere either."""

    lacks = frozenset({"broken_arguments", "api_key"})

    @pytest.fixture
    async def provider(self, upstream, canary):
        pytest.importorskip("botocore", reason="the extra `bedrock` is not installed")
        secrets = {"secret_access_key": canary.secret, "session_token": canary.secret}
        config = BedrockConfig(region="us-east-1", base_url=upstream.url, access_key_id="AKIDEXAMPLE", **secrets)
        provider = BedrockProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
