"""What the module binds, and chat models by name."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from injector import Injector, inject
from pydantic import BaseModel

from core.container import Container
from core.lifecycle import Lifecycle, LifecycleModule
from core.llm.chat_model import ChatModel, Named
from core.llm.common.exceptions import ProviderError, UnknownModel
from core.llm.module import ProviderModule
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.service import LLMService
from core.llm.testing import SCRIPTED, ScriptedConfig
from tests.unit.llm.support import serving

pytestmark = pytest.mark.leakcheck

YAML = """
llm_service:
  default_model: fast
  models: {fast: alpha/m}
  providers:
    alpha: {type: scripted, models: [m], answers: [from the file]}
"""


FAST: Any = Annotated[ChatModel, Named("fast")]
"""The key of a named model."""


class Answer(BaseModel):
    """What a chat model is asked for."""

    word: str


class Reviewer:
    """A host's service that wants a model by name."""

    @inject
    def __init__(self, model: Annotated[ChatModel, Named("fast")], llm: LLMService) -> None:
        self.model = model
        self.llm = llm


async def test_a_configuration_is_a_file_a_mapping_or_an_object(tmp_path: Path) -> None:
    """All three serve the same."""
    path = tmp_path / "llm.yaml"
    path.write_text(YAML)
    alpha = ScriptedConfig.model_validate({"type": "scripted", "models": ["m"], "answers": "from the object"})
    mapping = {
        "llm_service": {
            "default_model": "alpha/m",
            "providers": {"alpha": {"type": "scripted", "models": ["m"], "answers": "from the mapping"}},
        }
    }
    seen = []
    for config in (path, str(path), mapping, LLMServiceConfig(default_model="alpha/m", providers={"alpha": alpha})):
        module = ProviderModule(config, watch=False, env={}, plugins=[SCRIPTED])
        async with Container([module]) as container:
            seen.append((await container.get(LLMService).generate("hi")).content)
    assert seen == ["from the file", "from the file", "from the mapping", "from the object"]


def test_what_is_no_configuration_is_refused_where_it_is_written() -> None:
    """Not at the start, by whatever would first trip over it."""
    nothing: Any = None
    with pytest.raises(TypeError, match="path of a file, a mapping or an LLMServiceConfig, not NoneType"):
        ProviderModule(nothing)


async def test_a_model_is_injected_by_its_alias() -> None:
    """Its calls go where the alias leads, whatever model the options name."""
    async with serving(models={"fast": "beta/m"}, modules=(lambda binder: binder.bind(Reviewer),)) as world:
        reviewer = world.container.get(Reviewer)
        assert repr(reviewer.model) == "ChatModel('fast')"
        world.beta.will_answer("one")
        world.beta.will_stream("t", "wo")
        world.beta.will_answer('{"word": "three"}')
        assert (await reviewer.model.generate("hi")).content == "one"
        async with reviewer.model.stream("hi") as stream:
            assert (await stream.response()).content == "two"
        assert (await reviewer.model.generate_object("hi", Answer)).object == Answer(word="three")
        assert (await reviewer.model.embed("hi")).provider == "beta"
        assert reviewer.llm is world.service


async def test_a_chat_model_follows_an_edit_of_its_alias() -> None:
    """The injected object stays valid."""
    async with serving(models={"fast": "alpha/m"}) as world:
        model = world.container.get(Annotated[ChatModel, Named("fast")])
        assert (await model.generate("hi")).provider == "alpha"
        config = world.manager.current
        moved = config.models["fast"].model_copy(
            update={"use": tuple(one.model_copy(update={"model": "beta/m"}) for one in config.models["fast"].use)}
        )
        await world.manager.replace(config.model_copy(update={"models": {"fast": moved}}))
        assert (await model.generate("hi")).provider == "beta"


async def test_a_chat_model_of_a_name_that_means_nothing_fails_when_it_is_called() -> None:
    """The error names what is close."""
    async with serving(models={"fast": "alpha/m"}) as world:
        model = world.container.get(Annotated[ChatModel, Named("fats")])
        with pytest.raises(UnknownModel, match="'fast'"):
            await model.generate("hi")


async def test_a_host_with_an_injector_of_its_own_drives_the_lifecycle() -> None:
    """Without our container everything works the same, named models included."""
    config = {
        "llm_service": {"models": {"fast": "alpha/m"}, "providers": {"alpha": {"type": "scripted", "models": ["m"]}}}
    }
    module = ProviderModule(config, watch=False, env={}, plugins=[SCRIPTED])
    injector = Injector([LifecycleModule(), module])
    reviewer = injector.get(Reviewer)
    lifecycle = injector.get(Lifecycle)
    await lifecycle.start()
    try:
        assert (await reviewer.model.generate("hello")).content == "hello"
        assert injector.get(FAST) is reviewer.model
    finally:
        await lifecycle.stop()


async def test_the_service_is_one_object_and_stays_it() -> None:
    """A host may keep it for ever."""
    async with serving() as world:
        assert world.container.get(LLMService) is world.service
        await world.manager.reload()
        assert world.container.get(LLMService) is world.service


async def test_the_log_begins_with_the_configuration_and_names_who_is_off(logged: list[str]) -> None:
    """What is told while the configuration is loaded is told before the service listens to anything."""
    config = {
        "default_model": "alpha/m",
        "providers": {"alpha": {"type": "scripted", "models": ["m"]}, "openai": {"api_key": "${NO_SUCH_KEY:-}"}},
    }
    async with Container([ProviderModule(config, watch=False, env={}, plugins=[SCRIPTED])]):
        told = [line for line in logged if "openai" in line or "live" in line]
    assert [line.split(":")[0] for line in told] == ["INFO configuration 1 is live", "INFO provider openai is off"]
    assert "NO_SUCH_KEY" in told[1]


async def test_whoever_creates_the_service_alone_has_its_log_and_its_audit_log(
    logged: list[str], tmp_path: Path
) -> None:
    """A host that owns its injector asks for the service and starts the lifecycle."""
    config = {
        "default_model": "alpha/m",
        "providers": {"alpha": {"type": "scripted", "models": ["m"], "answers": [{"error": "authentication"}]}},
        "audit": {"path": str(tmp_path / "audit.jsonl")},
    }
    injector = Injector([LifecycleModule(), ProviderModule(config, watch=False, env={}, plugins=[SCRIPTED])])
    llm, lifecycle = injector.get(LLMService), injector.get(Lifecycle)
    await lifecycle.start()
    try:
        with pytest.raises(ProviderError):
            await llm.generate("hi")
    finally:
        await lifecycle.stop()
    assert any(line.startswith("ERROR a call for the default model failed") for line in logged)
    assert '"outcome":"failed"' in (tmp_path / "audit.jsonl").read_text()
