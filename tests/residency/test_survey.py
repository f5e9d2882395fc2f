"""What there is, as the providers of local models say themselves."""

from core.llm import HealthMonitor, LLMProviderFactory
from core.llm.testing.ollama_server import OllamaServer
from tests.residency.service import Served, llama


def config_of(url: str) -> dict:
    """A server with one configured model, one that is not there, and a provider that is hosted."""
    return {
        "providers": {
            "ollama": {"base_url": url, "models": ["a", "gone"]},
            "acme": {"type": "openai_compatible", "base_url": url, "models": ["m"]},
        },
        "health_check": {"enabled": False},
    }


async def test_a_server_is_asked_what_it_has_and_what_is_in_memory():
    """What nobody configured is listed too; a configured model without files is seen to be missing."""
    async with OllamaServer("a", "b") as server, Served(config_of(server.url)) as served:
        await served.llm.load_model("ollama/b")
        found = {one.model: one for one in (await served.models.survey()).models}
        assert set(found) == {"ollama/a", "ollama/gone", "ollama/b:latest"}
        told = {name: (one.configured, one.installed, one.loaded) for name, one in found.items()}
        assert told["ollama/a"] == (True, True, False)
        assert told["ollama/b:latest"] == (False, True, True)
        assert told["ollama/gone"] == (True, False, False)
        assert found["ollama/b:latest"].memory_bytes == 1_000_000
        assert found["ollama/b:latest"].facts.context_window == 4096
        assert not found["ollama/b:latest"].owned


async def test_a_server_that_is_away_is_named_and_hides_no_other():
    """Its models are unknown, not unloaded."""
    config = config_of("http://127.0.0.1:1")
    config["providers"] |= llama("tiny")["providers"]
    async with Served(config) as served:
        survey = await served.models.survey()
        assert [one.model for one in survey.models] == ["local/tiny"]
        assert survey.models[0].owned
        assert list(survey.unreachable) == ["ollama"]


async def test_a_server_that_hangs_costs_the_timeout_and_no_more():
    """The reason says how long it was waited for."""
    async with OllamaServer("a") as server, Served(config_of(server.url)) as served:
        survey = await served.models.survey(timeout=0)
        assert "no answer within 0 s" in survey.unreachable["ollama"]


async def test_a_provider_that_raises_hides_no_other(monkeypatch):
    """Its defect is named by its type only: the text may hold anything."""
    async with OllamaServer("a") as server:
        config = config_of(server.url)
        config["providers"] |= llama("tiny")["providers"]
        async with Served(config) as served:

            async def broken(self):
                raise RuntimeError("secret")

            monkeypatch.setattr("core.llm.providers.ollama.provider.OllamaProvider.list_models", broken)
            survey = await served.models.survey()
            assert [one.model for one in survey.models] == ["local/tiny"]
            assert survey.unreachable == {"ollama": "asked for its models, it raised RuntimeError"}


async def test_all_providers_are_checked_on_request():
    """Also where checks are switched off, and nothing is remembered of it."""
    async with OllamaServer("a") as server:
        config = config_of(server.url)
        config["providers"]["away"] = {"type": "ollama", "base_url": "http://127.0.0.1:1"}
        async with Served(config) as served:
            monitor = served.container.get(HealthMonitor)
            reports = await monitor.check_all()
            assert reports["ollama"].healthy
            assert not reports["away"].healthy
            assert monitor.report().checks == {}


async def test_a_listed_model_has_its_facts():
    """Context and price, for whoever shows them."""
    async with Served(llama("tiny")) as served:
        model = next(one for one in served.llm.get_available_models() if one.kind == "model")
        assert model.facts.context_window == 512
        assert model.facts.price is not None


async def test_the_schema_of_a_configuration_knows_every_provider_type():
    """Those that ship with the library and those that a host has registered."""
    async with Served(llama("tiny")) as served:
        factory = served.container.get(LLMProviderFactory)
        schema = factory.config_schema()
    assert set(schema["$defs"]["LLMServiceConfig"]["properties"]["providers"]["properties"]) == set(factory.names())
