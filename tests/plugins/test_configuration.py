"""`plugins.allow` in a configuration: what it makes known, also after an edit, and where it says what is wrong."""

import pytest

from core.container import Container
from core.llm import ConfigError, LLMService, ProviderModule
from core.llm.providers.config.manager import ProviderConfigManager

TEXT = """\
llm_service:
  default_model: {default}
  providers:
    plug: {{type: acme, models: [m]}}
    ollama: {{models: [llama]}}
  plugins: {{allow: [{allow}]}}
"""


@pytest.fixture
def config(tmp_path):
    """A configuration file with a provider of the type `acme`."""

    def write(allow: str = "acme", default: str = "plug/m"):
        path = tmp_path / "llm.yaml"
        path.write_text(TEXT.format(allow=allow, default=default))
        return path

    return write


def container(path, env=None) -> Container:
    """A host with this configuration."""
    return Container([ProviderModule(path, watch=False, env=env or {})])


async def test_an_allowed_plugin_is_a_provider_type(site, config) -> None:
    """It answers like any other."""
    site.install("acme")
    async with container(config()) as host:
        response = await host.get(LLMService).generate("hello")
        assert response.provider == "plug"


async def test_the_allowance_may_come_from_the_environment(site, config) -> None:
    """By substitution or by override, as every other value."""
    site.install("acme")
    async with container(config("'${PLUGIN}'"), {"PLUGIN": "acme"}) as host:
        assert "plug" in host.get(LLMService).get_provider_status()
    async with container(config(""), {"LLM__PLUGINS__ALLOW": "[acme]"}) as host:
        assert "plug" in host.get(LLMService).get_provider_status()


async def test_an_installed_plugin_that_is_not_allowed_is_a_located_error(site, config) -> None:
    """The error says what to write; no code of the package has run."""
    site.install("acme")
    with pytest.raises(ConfigError) as caught:
        async with container(config("")):
            pass
    (issue,) = caught.value.issues
    assert (issue.line, issue.column, issue.path) == (4, 18, "providers.plug.type")
    assert "plug-acme 1.2.3 offers it: add acme to `plugins.allow`" in str(issue)
    assert site.imported() == set()


async def test_a_plugin_that_is_not_installed_is_a_located_error(site, config) -> None:
    """Where a provider needs it."""
    with pytest.raises(ConfigError) as caught:
        async with container(config()):
            pass
    (issue,) = caught.value.issues
    assert (issue.line, issue.path) == (4, "providers.plug.type")
    assert "no installed package offers an entry point 'acme'" in str(issue)


async def test_f123_a_broken_plugin_switches_off_its_own_providers_only(site, config) -> None:
    """The service starts, and says why the provider is off and where the allowance stands."""
    site.install("acme", "import no_such_module_at_all")
    async with container(config(default="ollama/llama")) as host:
        manager = host.get(ProviderConfigManager)
        assert set(manager.disabled) == {"plug"}
        assert "ModuleNotFoundError (no module 'no_such_module_at_all')" in manager.disabled["plug"]
        (warning,) = manager.status.warnings
        assert (warning.line, warning.path) == (6, "plugins.allow[0]")


async def test_an_allowance_that_nobody_uses_is_a_warning(site, config) -> None:
    """An image may be built without a plugin that another one has."""
    site.install("acme")
    async with container(config("acme, absent, acme")) as host:
        (warning,) = host.get(ProviderConfigManager).status.warnings
        assert warning.path == "plugins.allow[1]"
        assert "`absent`" in str(warning)


async def test_a_reload_may_allow_a_plugin_and_take_it_back(site, config) -> None:
    """Without a restart; an edit that takes away what a provider needs is refused and changes nothing."""
    path = config("")
    text = path.read_text()
    path.write_text(text.replace("    plug: {type: acme, models: [m]}\n", "").replace("plug/m", "ollama/llama"))
    async with container(path) as host:
        manager, service = host.get(ProviderConfigManager), host.get(LLMService)
        assert "plug" not in service.get_provider_status()
        site.install("acme")
        config()
        result = await manager.reload()
        assert (result.status, result.restart_required) == ("applied", ())
        assert (await service.generate("hello")).provider == "plug"
        config("")
        result = await manager.reload()
        assert result.status == "rejected"
        assert "add acme to `plugins.allow`" in str(result.errors[0])
        assert (await service.generate("hello")).provider == "plug"


async def test_a_dry_run_does_not_take_the_plugin_from_the_live_configuration(site, config) -> None:
    """What is only looked at changes nothing."""
    site.install("acme")
    async with container(config()) as host:
        manager = host.get(ProviderConfigManager)
        config("")
        assert (await manager.reload(dry_run=True)).status == "rejected"
        assert (await host.get(LLMService).generate("hello")).provider == "plug"


async def test_a_wrong_allowance_is_told_like_any_other_mistake(config) -> None:
    """Once, by the ordinary rules."""
    path = config()
    for wrong in ("{allow: {acme: 1}}", "{allow: 5}", "{allow: [{a: b}]}", "{alow: [acme]}", "7"):
        path.write_text("llm_service:\n  providers: {ollama: {}}\n  plugins: " + wrong + "\n")
        with pytest.raises(ConfigError) as caught:
            async with container(path):
                pass
        assert [issue.line for issue in caught.value.issues] == [3], wrong
