"""Models of one's own behind the service: fallback, eviction and swap as for every local model."""

import pytest

from core.container import Container
from core.llm import LLMService, ModelManager, ProviderModule
from core.llm.common.exceptions import AllAttemptsFailed, ModelLoadError
from tests.unit.providers.custom.conftest import ECHO

pytestmark = pytest.mark.leakcheck

REFUSES = "tests.workers.own_engines:refuses"


def config(**service):
    """One provider with a locked model, a class of one's own and a GGUF file."""
    models = {
        "locked": {"engine": ECHO, "licence_check": REFUSES},
        "echo": {"engine": ECHO},
        "gguf": {"model_path": "embedded", "options": {"n_ctx": 256}},
    }
    return {"default_model": "mine/echo", "providers": {"mine": {"type": "custom", "models": models}}, **service}


async def test_a_call_goes_past_a_model_without_a_licence():
    """To its next candidate; without one the error says why."""
    aliases = {"fast": {"use": "mine/locked", "fallback": ["mine/echo"]}}
    async with Container([ProviderModule(config(models=aliases))]) as container:
        llm = container.get(LLMService)
        answer = await llm.generate("hi", model="fast")
        assert (answer.content, answer.model) == ("HI ", "echo")
        with pytest.raises((ModelLoadError, AllAttemptsFailed), match="no licence for locked"):
            await llm.generate("hi", model="mine/locked")


async def test_its_models_make_way_for_each_other():
    """Whatever runs them: one budget for all."""
    async with Container([ProviderModule(config(residency={"max_loaded": 1}))]) as container:
        llm, models = container.get(LLMService), container.get(ModelManager)

        def in_memory():
            return [one.model for one in models.list() if one.state == "ready"]

        await llm.generate("hi")
        assert in_memory() == ["mine/echo"]
        await llm.generate("hi", model="mine/gguf", max_tokens=2)
        assert in_memory() == ["mine/gguf"]


async def test_an_alias_is_swapped_from_a_file_to_a_class():
    """The next call is answered by the new one."""
    async with Container([ProviderModule(config(models={"fast": "mine/gguf"}))]) as container:
        llm = container.get(LLMService)
        assert (await llm.generate("hi", model="fast", max_tokens=2)).model == "gguf"
        await llm.swap_model("fast", "mine/echo")
        assert (await llm.generate("hi", model="fast")).content == "HI "


async def test_an_object_is_asked_for_in_words():
    """A class that only writes text is no reason to do without."""
    async with Container([ProviderModule(config())]) as container:
        answer = await container.get(LLMService).generate("hi", response_format={"type": "object"})
        assert "HI" in answer.content
        assert [warning.code for warning in answer.warnings] == ["emulated"]
