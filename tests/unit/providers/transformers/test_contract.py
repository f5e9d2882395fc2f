"""The provider for Hugging Face models keeps the provider contract, through a worker process without torch."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.llm.providers.transformers import local_model
from core.llm.providers.transformers.config import TransformersConfig
from core.llm.providers.transformers.provider import TransformersProvider
from core.llm.testing import ProviderContract, provider_services
from tests.contract.openai_upstream import OpenAIUpstream
from tests.unit.providers.transformers import folders


class TestTransformers(ProviderContract):
    """An engine knows no keys, no rate limits and no network; that it thinks is a matter of its template."""

    lacks = frozenset({"api_key", "unauthorised", "rate_limited", "unreachable", "thinking"})
    usage_buckets = frozenset({"input", "cache_read", "output"})

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[OpenAIUpstream]:
        async with OpenAIUpstream() as server:
            yield server

    @pytest.fixture
    async def provider(
        self, upstream: OpenAIUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> AsyncIterator[TransformersProvider]:
        monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.proxy_transformers_worker")
        monkeypatch.setattr(local_model, "_PACKAGES", ())
        folder = folders.model(tmp_path / "m")
        (folder / "upstream").write_text(upstream.url)
        models = {self.model: {"path": str(folder), "max_batch": 8}}
        config = TransformersConfig(models=models, schemas="enforced")
        provider = TransformersProvider(config, provider_services("contract"))
        await provider.start()
        yield provider
        await provider.close()
