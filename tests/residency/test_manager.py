"""`ModelManager` as a host sees it: injected, asked, told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.llm import ModelManager, UnknownModel, UnsupportedFeature
from core.llm.common.types import ModelRef
from core.llm.testing import SCRIPTED, SCRIPTED_HOST
from core.llm.testing.ollama_server import OllamaServer
from tests.residency.service import Served, eventually, llama


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaServer]:
    async with OllamaServer("a", "b") as server:
        yield server


def two_servers(server: OllamaServer) -> dict:
    return {
        "providers": {"ollama": {"base_url": server.url, "models": ["a", "b"]}, "far": {"type": "scripted"}},
        "models": {"fast": {"use": "ollama/a", "fallback": []}},
        "health_check": {"enabled": False},
    }


async def test_it_is_injected_once():
    """A singleton of the container."""
    async with Served(llama("a")) as served:
        assert served.container.get(ModelManager) is served.models


async def test_F142_loads_on_a_server_without_rules_are_shared_too(ollama):
    """The provider sees to that by itself."""
    async with Served(two_servers(ollama), plugins=[SCRIPTED]) as served:
        statuses = await asyncio.gather(*[served.llm.load_model("fast") for _ in range(20)])
        assert {status.state for status in statuses} == {"ready"}
        assert len(ollama.store.loads) == 1
        assert (await served.llm.model_status("ollama/a")).state == "ready"
        assert (await served.llm.unload_model("fast")).state == "unloaded"


@pytest.mark.parametrize("mode", ["overlap", "replace"])
async def test_ML14_a_swap_needs_no_rules(ollama, mode):
    """The new model is loaded and tried; the old one is its server's business, or gone where it had to go first."""
    async with Served(two_servers(ollama), plugins=[SCRIPTED]) as served:
        await served.llm.generate("hi", model="fast")
        await served.llm.swap_model("fast", "ollama/b", mode=mode)
        assert (await served.llm.generate("hi", model="fast")).model == "b"
        states = [(await served.llm.model_status(f"ollama/{name}")).state for name in "ab"]
        assert states == (["ready", "ready"] if mode == "overlap" else ["unloaded", "ready"])


async def test_what_has_no_memory_of_its_own_says_so(ollama):
    """Hosted models are not loaded, and an unknown name is one."""
    async with Served(two_servers(ollama), plugins=[SCRIPTED]) as served:
        for ask in (served.models.load, served.models.unload, served.models.status, served.models.pin):
            with pytest.raises(UnsupportedFeature, match="does not load"):
                await ask("far/m")
        with pytest.raises(UnsupportedFeature, match="cannot download"):
            await served.models.pull("far/m")
        with pytest.raises(UnknownModel):
            await served.models.load("nobody")


async def test_a_third_partys_host_is_kept_by_the_rules_as_well_ML04():
    """It needs nothing but load, unload and status."""
    config = {
        "providers": {"own": {"type": "scripted_host", "models": ["a", "b"]}},
        "residency": {"max_loaded": 1},
    }
    async with Served(config, plugins=[SCRIPTED_HOST]) as served:
        await served.llm.generate("hi", model="own/a")
        await served.llm.generate("hi", model="own/b")
        provider = served.llm._holder.current.providers["own"]
        assert provider.loaded == ["b"]
        assert provider.log == [("load", "a"), ("unload", "a"), ("load", "b")]


async def test_ML17_routing_prefers_what_is_in_memory():
    """And has a local model loaded in the background while a hosted one answers."""
    config = llama("a", "b")
    config["providers"]["far"] = {"type": "scripted", "models": ["m"]}
    config["models"] = {
        "two": {"use": ["local/a", "local/b"], "strategy": "prefer_loaded", "fallback": []},
        "spill": {"use": ["local/a", "far/m"], "strategy": "prefer_loaded", "fallback": []},
    }
    async with Served(config, plugins=[SCRIPTED]) as served:
        await served.llm.load_model("local/b")
        assert served.models.is_loaded(ModelRef("local", "a")) is False
        assert served.models.is_loaded(ModelRef("local", "b")) is True
        assert served.models.is_loaded(ModelRef("far", "m")) is None
        assert (await served.llm.generate("hi", model="two", max_tokens=2)).model == "b"
        assert (await served.llm.generate("hi", model="spill", max_tokens=2)).provider == "far"
        await eventually(lambda: served.ready() == {"local/a", "local/b"})
        assert (await served.llm.generate("hi", model="spill", max_tokens=2)).model == "a"


async def test_ML16_events_of_a_model_can_be_followed():
    """By anyone who iterates; others hear nothing of it."""
    async with Served(llama("a", "b")) as served:
        seen: list[str] = []

        async def follow() -> None:
            async for event in served.models.events("local/a"):
                assert event.model == "local/a"
                seen.append(f"{event.kind} {event.state}")

        task = asyncio.ensure_future(follow())
        await asyncio.sleep(0)
        await served.llm.load_model("local/b")
        await served.llm.load_model("local/a")
        await served.llm.unload_model("local/a")
        await eventually(lambda: "unload unloaded" in seen)
        task.cancel()
        await asyncio.wait([task])
        assert seen == [
            "load loading",
            "load ready",
            "state draining",
            "state unloading",
            "unload unloading",
            "unload unloaded",
        ]


async def test_tokens_are_counted_without_breaking_a_limit_ML04():
    """Counting needs the model, which is loaded for it by the same rules as for a call."""
    async with Served(llama("a", "b", max_loaded=1)) as served:
        await served.llm.load_model("local/a")
        assert (await served.llm.count_tokens("hello", model="local/a")).source == "provider"
        count = await served.llm.count_tokens("hello", model="local/b")
        assert count.tokens > 0
        assert len(served.ready()) == 1
        provider = served.llm._holder.current.providers["local"]
        assert sum(model.pid is not None for model in provider._models.values()) == 1
