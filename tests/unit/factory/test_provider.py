"""From a name and a configuration to a provider."""

import pytest

from core.llm.common.exceptions import UnknownProvider
from core.llm.factory.exceptions import MissingExtra
from core.llm.factory.provider import LLMProviderFactory
from core.llm.providers.base.spec import ProviderSpec
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.runtime.resources import ResourcePool
from core.llm.testing import SCRIPTED, FakeClock, ScriptedConfig, ScriptedProvider


def a_factory(*plugins: ProviderSpec) -> LLMProviderFactory:
    """A factory with these plugins."""
    return LLMProviderFactory(ResourcePool(), clock=FakeClock(), plugins=plugins)


def test_a_provider_is_built_from_its_type_and_gets_its_configured_name() -> None:
    """The type defaults to the name; nothing is started."""
    factory = a_factory(SCRIPTED)
    for name, kind in (("alpha", "scripted"), ("scripted", "")):
        provider = factory.build(name, ScriptedConfig(type=kind))
        assert isinstance(provider, ScriptedProvider)
        assert (provider.name, provider.started) == (name, 0)


def test_every_folder_is_a_known_type() -> None:
    """Plugins stand beside them."""
    names = a_factory(SCRIPTED).names()
    assert {"ollama", "openai", "openai_compatible", "llama_cpp", "scripted"} <= set(names)
    assert list(names) == sorted(names)


def test_an_unknown_type_is_answered_with_the_closest() -> None:
    """And with all there are."""
    with pytest.raises(UnknownProvider, match="did you mean 'ollama'"):
        a_factory().build("mine", ProviderConfig(type="olama"))
    with pytest.raises(UnknownProvider, match=r"Known types: .*openai"):
        a_factory().build("mine", ProviderConfig(type="xyzzy"))
    assert a_factory().spec("xyzzy") is None
    assert a_factory().config_class("xyzzy") is None


def test_a_registered_type_takes_the_place_of_a_built_in_one() -> None:
    """A host may bring its own."""
    factory = a_factory()
    assert factory.spec("ollama") is not SCRIPTED
    factory.register_provider("ollama", SCRIPTED)
    assert factory.spec("ollama") is SCRIPTED
    assert factory.config_class("ollama") is ScriptedConfig


@pytest.mark.parametrize(("extra", "error"), [("local", MissingExtra), (None, ModuleNotFoundError)])
def test_a_missing_dependency_says_what_to_install(extra: str | None, error: type[Exception]) -> None:
    """Only where there is an extra to install; otherwise it is a defect of the plugin."""
    spec = ProviderSpec(
        "needy", "core.llm.testing.provider:ScriptedConfig", "no_such_module_at_all:Provider", extra=extra
    )
    with pytest.raises(error, match="no_such_module_at_all") as caught:
        a_factory(spec).build("needy", ScriptedConfig(type="needy"))
    if extra:
        assert "pip install 'core-llm[local]'" in str(caught.value)


def test_create_provider_builds_from_the_live_configuration() -> None:
    """Without one it says so."""
    factory = a_factory(SCRIPTED)
    with pytest.raises(UnknownProvider, match="no configuration is loaded"):
        factory.create_provider("alpha")
    factory.use_configuration(lambda name: ScriptedConfig(type="scripted", answers=(name,)))
    assert factory.create_provider("alpha").name == "alpha"
