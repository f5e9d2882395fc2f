"""A real llama-server as a router: load, unload, eviction and swap over HTTP. Needs the binary, see `processes`."""

import pytest

from core.container import Container
from core.llm import LLMService, ModelManager, ProviderModule
from core.llm.common.exceptions import LLMError
from tests.peers.processes import KEY, llama_router


@pytest.fixture
async def container(tmp_path):
    """A service over a router with two copies of the model that ships with the library."""
    async with llama_router(tmp_path, "tiny-a", "tiny-b") as address:
        config = {
            "models": {"fast": "router/tiny-a"},
            "providers": {
                "router": {
                    "type": "llama_server", "base_url": address, "api_key": KEY, "models": ["tiny-a", "tiny-b"],
                }
            },
            "residency": {"max_loaded": 1, "reconcile_interval": "200ms"},
            "health_check": {"enabled": False},
        }  # fmt: skip
        async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
            yield container


async def test_models_of_a_real_router_are_loaded_evicted_swapped_and_unloaded(container):
    """One place: the second goes for the first and the other way round."""
    llm, models = container.get(LLMService), container.get(ModelManager)
    assert (await models.load("router/tiny-a")).state == "ready"
    assert (await models.status("router/tiny-b")).state == "unloaded"
    answer = await llm.generate("Say hello", model="router/tiny-b", max_tokens=20)
    assert "hello" in answer.content.lower()
    assert (await models.status("router/tiny-a")).state == "unloaded"
    await llm.swap_model("fast", "router/tiny-b")
    assert (await llm.generate("Say hello", model="fast", max_tokens=20)).model == "tiny-b"
    assert (await models.unload("router/tiny-b")).state == "unloaded"
    with pytest.raises(LLMError):
        await models.load("router/nope")
