"""The model host contract on the wire servers of Ollama, LM Studio, LocalAI and llama.cpp's router."""

import pytest

from core.llm.testing import ModelHostContract
from tests.model_hosts.server_benches import LlamaRouterBench, LMStudioBench, LocalAIBench, OllamaBench


@pytest.mark.leakcheck
class TestOllama(ModelHostContract):
    """Over its own API, `keep_alive` included."""

    @pytest.fixture
    async def bench(self):
        bench = OllamaBench()
        async with bench.server:
            yield bench


@pytest.mark.leakcheck
class TestLMStudio(ModelHostContract):
    """Over its REST API."""

    @pytest.fixture
    async def bench(self):
        bench = LMStudioBench()
        async with bench.server:
            yield bench


@pytest.mark.leakcheck
class TestLocalAI(ModelHostContract):
    """Over its backends."""

    @pytest.fixture
    async def bench(self):
        bench = LocalAIBench()
        async with bench.server:
            yield bench


@pytest.mark.leakcheck
class TestLlamaRouter(ModelHostContract):
    """Where a load is only begun by its request, and followed by looking."""

    @pytest.fixture
    async def bench(self):
        bench = LlamaRouterBench()
        async with bench.server:
            yield bench
