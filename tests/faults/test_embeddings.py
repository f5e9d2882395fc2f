"""Answers that are none, where vectors were asked for: the same faults as for chat, on another way through the code."""

import json

import pytest

from core.container import Container
from core.llm import LLMService, ProviderModule
from core.llm.common.exceptions import ProviderError
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import answer

PROVIDERS = {
    "openai": {"type": "openai", "api_key": "sk-0123456789abcdef"},
    "gemini": {"type": "gemini", "api_key": "AIza0123456789abcdef"},
    "ollama": {"type": "ollama"},
}
NO_MODEL = {"message": "model 'm' not found", "status": "NOT_FOUND", "code": 404}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_f40_an_error_with_a_good_status_is_that_error_for_vectors_too(name, no_leaks):
    """What the server says about itself decides: nobody asks twice for a model that is not there, and nothing is billed."""
    async with WireServer() as server:
        server.otherwise(answer(json.dumps({"error": "model 'm' not found" if name == "ollama" else NO_MODEL})))
        options = {**PROVIDERS[name], "base_url": server.url, "models": ["m"]}
        config = {"providers": {name: options}, "health_check": {"enabled": False}, "retry": {"initial_delay": "1ms"}}
        async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
            with pytest.raises(ProviderError) as caught:
                await container.get(LLMService).embed(["a", "b"], model=f"{name}/m")
    assert (caught.value.type, caught.value.billing) == ("model_not_found", "none")
    assert sum("embed" in request.path.lower() for request in server.requests) == 1
