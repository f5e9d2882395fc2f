"""Models on servers that others use too: followed, not owned."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.llm.common.exceptions import ModelNotReady, ProviderError, UnsupportedFeature
from core.llm.providers.ollama.client import OllamaClient
from core.llm.testing.lm_studio_server import LMStudioServer
from core.llm.testing.localai_server import LocalAIServer
from core.llm.testing.ollama_server import OllamaServer
from core.llm.transport.http import HttpTransport
from core.llm.transport.http_options import HttpOptions
from tests.residency.service import Served, eventually

QUICK = {"reconcile_interval": "50ms"}


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaServer]:
    async with OllamaServer("a", "b", "c") as server:
        yield server


@pytest.fixture
async def other(ollama: OllamaServer) -> AsyncIterator[OllamaClient]:
    """Somebody else at the same server."""
    transport = HttpTransport(HttpOptions(ollama.url))
    yield OllamaClient(lambda: transport)
    await transport.close()


def at(server: OllamaServer, **residency) -> dict:
    return {
        "providers": {"ollama": {"base_url": server.url, "models": ["a", "b", "c"]}},
        "residency": residency,
        "health_check": {"enabled": False},
    }


async def test_without_rules_the_server_decides_alone(ollama):
    """Nothing is asked of it but the calls, and no layer is in their way."""
    async with Served(at(ollama)) as served:
        await served.llm.generate("hi", model="ollama/a")
        assert [call.path for call in ollama.calls] == ["/api/chat"]
        assert served.models.list() == ()
        with pytest.raises(UnsupportedFeature, match="residency"):
            await served.models.pin("ollama/a")


async def test_ML04_rules_hold_for_the_models_of_a_server(ollama):
    """With one place, the first goes before the second comes."""
    async with Served(at(ollama, max_loaded=1)) as served:
        await served.llm.generate("hi", model="ollama/a")
        await served.llm.generate("hi", model="ollama/b")
        assert served.ready() == {"ollama/b"}
        assert [load.model for load in ollama.store.loads] == ["a:latest", "b:latest"]


async def test_ML19_a_hundred_calls_with_mixed_options_load_each_model_once(ollama):
    """Sampling options come and go; load options belong to the model, and a call cannot change them by the way."""
    config = at(ollama, max_loaded=3)
    config["providers"]["ollama"]["models"] = {"a": {"options": {"num_ctx": 2048}}, "b": {"options": {"num_ctx": 4096}}}
    config["models"] = {"small": "ollama/a", "large": "ollama/b"}
    async with Served(config) as served:
        mixed = [
            served.llm.generate(
                "hi",
                model=("small", "large")[number % 2],
                temperature=number / 100,
                extra={"ollama": {"options": {"num_ctx": 1024 * (1 + number % 5), "mirostat": number % 3}}},
            )
            for number in range(100)
        ]
        answers = await asyncio.gather(*mixed)
    assert len(ollama.store.loads) == 2
    assert any("num_ctx" in str(warning) for answer in answers for warning in answer.warnings)


async def test_ML19_such_a_call_may_be_refused(ollama):
    """Before anything is sent, with what to do."""
    async with Served(at(ollama, on_other_load_options="refuse")) as served:
        with pytest.raises(ProviderError, match="num_ctx 64") as caught:
            await served.llm.generate("hi", model="ollama/a", extra={"ollama": {"options": {"num_ctx": 64}}})
        assert (caught.value.code, caught.value.type) == ("load_options", "invalid_request")
        assert ollama.calls_to("/api/chat") == []
        await served.llm.generate("hi", model="ollama/a", extra={"ollama": {"options": {"mirostat": 1}}})


async def test_ML19_or_go_to_the_next_candidate(ollama):
    """Which may be a model that is loaded with those options."""
    config = at(ollama, on_other_load_options="reroute")
    config["providers"]["ollama"]["models"] = {"a": {}, "b": {"options": {"num_ctx": 64}}}
    config["models"] = {"fast": {"use": "ollama/a", "fallback": ["ollama/b"]}}
    async with Served(config) as served:
        answer = await served.llm.generate("hi", model="fast", extra={"ollama": {"options": {"num_ctx": 64}}})
        assert answer.model == "b"
        assert [load.model for load in ollama.store.loads] == ["b:latest"]


async def test_ML19_one_model_in_two_ways_of_loading_is_not_loaded_to_and_fro(ollama):
    """A server holds one of them; the other waits for its end instead of pushing it out with each call."""
    config = at(ollama, max_loaded=3, patience="1h")
    config["providers"] = {
        name: {"type": "ollama", "base_url": ollama.url, "models": {"a": {"options": {"num_ctx": size}}}}
        for name, size in (("small", 2048), ("large", 8192))
    }
    async with Served(config) as served:
        names = ["small/a"] * 20 + ["large/a"] * 20
        await asyncio.gather(*[served.llm.generate("hi", model=name) for name in names])
        assert [load.options["num_ctx"] for load in ollama.store.loads] == [2048, 8192]


async def test_ML20_what_others_unload_is_noticed(ollama, other):
    """And the next call loads it again, F149."""
    async with Served(at(ollama, max_loaded=2, **QUICK)) as served:
        await served.llm.generate("hi", model="ollama/a")
        ollama.store._resident.clear()  # what a server that was started anew looks like
        await eventually(lambda: served.ready() == set())
        await served.llm.generate("hi", model="ollama/a")
        assert served.ready() == {"ollama/a"}


async def test_ML20_what_others_load_takes_memory_and_is_not_unloaded(ollama, other):
    """The budget is what is left beside it."""
    size = ollama.store.find("b").size
    budget = {"gpu": size * 5 // 2}
    config = at(
        ollama, devices={"ollama": "gpu"}, memory_budget=budget, acquire_timeout="300ms", patience="50ms", **QUICK
    )
    async with Served(config) as served:
        await served.llm.generate("hi", model="ollama/a")
        await _load(other, "b")
        await eventually(lambda: served.ready() == {"ollama/a", "ollama/b"})
        theirs = next(one for one in served.models.list() if one.model == "ollama/b")
        assert (theirs.loaded_by_us, theirs.owned) == (False, False)
        await served.llm.generate("hi", model="ollama/c")
        assert served.ready() == {"ollama/b", "ollama/c"}


async def _load(other: OllamaClient, model: str) -> None:
    from core.llm.providers.ollama.models.requests import GenerateRequest

    await other.generate(GenerateRequest(model=model))


async def test_ML20_a_model_of_ours_that_others_took_out_in_the_middle_costs_no_call(ollama):
    """The server loads it with the call; the books follow."""
    async with Served(at(ollama, max_loaded=2)) as served:
        await served.llm.generate("hi", model="ollama/a")
        ollama.store._resident.clear()
        assert (await served.llm.generate("hi", model="ollama/a")).content


async def test_ML21_the_server_is_asked_to_keep_a_model_for_as_long_as_the_rules_do(ollama):
    """With every call; for ever only where it is pinned; and what is configured for the provider wins."""
    async with Served(at(ollama, idle_ttl="90s", pinned=["ollama/b"])) as served:
        for model in ("a", "b"):
            await served.llm.generate("hi", model=f"ollama/{model}")
        sent = {call.body["model"]: call.body["keep_alive"] for call in ollama.calls_to("/api/chat")}
        assert sent == {"a": 90, "b": -1}
        await served.models.unpin("ollama/b")
        await served.llm.generate("hi", model="ollama/b")
        assert ollama.calls_to("/api/chat")[-1].body["keep_alive"] == 90
    config = at(ollama, idle_ttl="90s")
    config["providers"]["ollama"]["keep_alive"] = "10m"
    async with Served(config) as served:
        await served.llm.generate("hi", model="ollama/a")
        assert ollama.calls_to("/api/chat")[-1].body["keep_alive"] == 600


async def test_ML21_models_on_a_shared_server_stay_at_the_end_unless_asked_for(ollama):
    """`unload_on_stop` is per provider."""
    for asked in (False, True):
        config = at(ollama, max_loaded=2)
        config["providers"]["ollama"]["unload_on_stop"] = asked
        async with Served(config) as served:
            await served.llm.generate("hi", model="ollama/a")
        assert bool(ollama.store._resident) is not asked


async def test_ML22_a_model_is_made_available_by_the_strategy(ollama):
    """never, when_missing and always; all who ask share one download."""
    ollama.publish("new")
    async with Served(at(ollama)) as served:
        with pytest.raises(ModelNotReady, match="not installed"):
            await served.models.ensure_model_available("ollama/new", pull="never")
        found = await asyncio.gather(*[served.models.ensure_model_available("ollama/new") for _ in range(5)])
        assert {info.name for info in found} == {"new"}
        assert len(ollama.calls_to("/api/pull")) == 1
        await served.models.ensure_model_available("ollama/new")
        assert len(ollama.calls_to("/api/pull")) == 1
        await served.models.ensure_model_available("ollama/new", pull="always")
        assert len(ollama.calls_to("/api/pull")) == 2


async def test_ML22_the_configured_strategy_holds_where_none_is_named(ollama):
    """An explicit `never` refuses, and `always` looks for a newer version; what is installed does while its registry is away."""
    ollama.publish("new")
    config = at(ollama)
    config["providers"]["ollama"]["pull"] = "never"
    async with Served(config) as served:
        with pytest.raises(ModelNotReady, match="not installed"):
            await served.models.ensure_model_available("ollama/new")
        assert ollama.calls_to("/api/pull") == []
    config["providers"]["ollama"]["models"] = {"new": {"pull": "always"}, "a": {"pull": "always"}}
    async with Served(config) as served:
        for _ in range(2):
            await served.models.ensure_model_available("ollama/new")
        assert len(ollama.calls_to("/api/pull")) == 2
        found = await served.models.ensure_model_available("ollama/a")  # its registry does not have it
        assert found.name == "a:latest"
        with pytest.raises(ProviderError):
            await served.models.ensure_model_available("ollama/a", pull="always")


async def test_ML22_a_model_that_is_pulled_serves_on_in_its_older_version(ollama):
    """A pull takes nothing out of memory."""
    ollama.publish("a")
    async with Served(at(ollama, max_loaded=2)) as served:
        await served.llm.generate("hi", model="ollama/a")
        pull = asyncio.ensure_future(served.llm.pull_model("ollama/a"))
        answers = await asyncio.gather(*[served.llm.generate("hi", model="ollama/a") for _ in range(5)])
        await pull
        assert len(answers) == 5


async def test_LM_studio_follows_the_rules_too_ML04():
    """Load, evict and reconcile over its own endpoints."""
    async with LMStudioServer("a", "b") as server:
        config = {
            "providers": {"lm_studio": {"base_url": server.url}},
            "residency": {"max_loaded": 1, **QUICK},
            "health_check": {"enabled": False},
        }
        async with Served(config) as served:
            await served.llm.generate("hi", model="lm_studio/a")
            await served.llm.generate("hi", model="lm_studio/b")
            assert server.loaded() == ["b"]
            assert served.ready() == {"lm_studio/b"}
            server.state.instances.clear()
            await eventually(lambda: served.ready() == set())


async def test_localai_follows_the_rules_too_ML04():
    """Load, evict and reconcile over its own endpoints."""
    async with LocalAIServer("a", "b") as server:
        config = {
            "providers": {"localai": {"base_url": server.url}},
            "residency": {"max_loaded": 1, **QUICK},
            "health_check": {"enabled": False},
        }
        async with Served(config) as served:
            await served.llm.generate("hi", model="localai/a")
            await served.llm.generate("hi", model="localai/b")
            assert served.ready() == {"localai/b"}
            assert (await served.llm.model_status("localai/a")).state == "unloaded"
