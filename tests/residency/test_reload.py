"""Edits of the configuration and what is in memory: each touches what it is about, and nothing else."""

import asyncio
from pathlib import Path

import pytest
from pydantic_core import to_json

from core.llm.providers.llama_cpp import local_model
from tests.residency.service import Served, eventually, llama

pytestmark = pytest.mark.leakcheck


def pid_of(served: Served, model: str) -> int | None:
    """The process that holds a model."""
    runtime = served.llm._holder.current
    provider = runtime.providers["local"]
    return provider._models[model].pid  # the very object that outlives configurations


async def edited(served: Served, file: Path, config: dict) -> None:
    """Write *config* and have it applied."""
    file.write_bytes(to_json({"llm_service": config}))
    result = await served.manager.reload()
    assert result.status == "applied", result.errors


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "llm.yaml"


async def started(file: Path, config: dict) -> Served:
    file.write_bytes(to_json({"llm_service": config}))
    return Served(str(file))


async def test_an_edit_of_one_model_touches_that_model_only(file):
    """The other keeps its process; the edited one is loaded anew, since it was in memory."""
    config = llama("a", "b")
    async with await started(file, config) as served:
        await served.llm.generate("hi", model="local/a", max_tokens=2)
        await served.llm.generate("hi", model="local/b", max_tokens=2)
        before = pid_of(served, "a"), pid_of(served, "b")
        config["providers"]["local"]["models"]["b"]["n_ctx"] = 768
        await edited(served, file, config)
        await eventually(lambda: pid_of(served, "b") is not None)
        assert pid_of(served, "a") == before[0]
        assert pid_of(served, "b") != before[1]
        await eventually(lambda: len(served.models.list()) == 2)
        assert served.loads("local/a") == 1


async def test_an_edit_of_anything_else_touches_no_model(file):
    """Same objects, same processes, same leases."""
    config = llama("a", "b", idle_ttl="1h")
    async with await started(file, config) as served:
        await served.llm.generate("hi", model="local/a", max_tokens=2)
        process = pid_of(served, "a")
        model = served.llm._holder.current.providers["local"]._models["a"]
        async with served.llm.stream("hello", model="local/a", max_tokens=100) as stream:
            config["retry"] = {"max_retries": 1}
            config["residency"] = {"idle_ttl": "2h", "max_loaded": 2}
            config["providers"]["local"]["headers"] = {"x": "y"}
            config["models"]["other"] = "local/b"
            await edited(served, file, config)
            assert served.leases() == 1
            assert [event async for event in stream]
        await eventually(lambda: served.leases() == 0)
        assert served.llm._holder.current.providers["local"]._models["a"] is model
        assert pid_of(served, "a") == process
        assert served.loads() == 1


async def test_a_stream_on_the_old_way_of_loading_ends_there(file):
    """Both are in memory for as long as it runs."""
    config = llama("a")
    async with await started(file, config) as served:
        async with served.llm.stream(
            "hello", model="local/a", max_tokens=450, extra={"local": {"ignore_eos": True}}
        ) as stream:
            await anext(stream)
            old = pid_of(served, "a")
            config["providers"]["local"]["models"]["a"]["n_ctx"] = 768
            await edited(served, file, config)
            answer = await served.llm.generate("hi", model="local/a", max_tokens=2)
            assert answer.content
            assert pid_of(served, "a") != old
            assert [event async for event in stream]
        await eventually(lambda: len(served.models.list()) == 1)


async def test_a_model_that_is_taken_out_leaves_memory(file):
    """As soon as nobody uses it."""
    config = llama("a", "b")
    async with await started(file, config) as served:
        await served.llm.generate("hi", model="local/b", max_tokens=2)
        del config["providers"]["local"]["models"]["b"]
        await edited(served, file, config)
        await eventually(lambda: served.ready() == set())
        await eventually(lambda: [one.model for one in served.models.list()] == ["local/a"])


async def test_a_lowered_limit_holds_at_once(file):
    """What is idle and too much goes."""
    config = llama("a", "b", "c")
    async with await started(file, config) as served:
        for model in ("a", "b", "c"):
            await served.llm.generate("hi", model=f"local/{model}", max_tokens=2)
        config["residency"] = {"max_loaded": 1}
        await edited(served, file, config)
        await eventually(lambda: served.ready() == {"local/c"})


async def test_pins_follow_the_configuration(file):
    """A new pin loads, one that has gone lets go by the rules."""
    config = llama("a", "b", pinned=["local/a"], idle_ttl="200ms")
    async with await started(file, config) as served:
        await eventually(lambda: served.ready() == {"local/a"})
        config["residency"]["pinned"] = ["local/b"]
        await edited(served, file, config)
        await eventually(lambda: served.ready() == {"local/b"})


async def test_a_swap_survives_an_edit_of_something_else_and_gives_way_to_one_of_its_alias(file):
    """What is written last about an alias holds."""
    config = llama("a", "b")
    async with await started(file, config) as served:
        await served.llm.swap_model("fast", "local/b")
        config["retry"] = {"max_retries": 1}
        await edited(served, file, config)
        assert served.llm.explain("hi", model="fast").first == ("local", "b")
        config["models"]["fast"] = {"use": "local/a", "fallback": ["local/b"]}
        await edited(served, file, config)
        assert served.llm.explain("hi", model="fast").first == ("local", "a")


async def test_a_refused_edit_changes_nothing_in_memory(file):
    """Models, pins and swaps are as they were."""
    config = llama("a", "b", pinned=["local/a"])
    async with await started(file, config) as served:
        await eventually(lambda: served.ready() == {"local/a"})
        await served.llm.swap_model("fast", "local/b")
        file.write_text("llm_service: {providers: 7}")
        assert (await served.manager.reload()).status == "rejected"
        await asyncio.sleep(0)
        assert served.ready() == {"local/a", "local/b"}
        assert served.llm.explain("hi", model="fast").first == ("local", "b")


async def test_a_load_by_hand_follows_an_edit_of_its_model(file, monkeypatch):
    """It returns once the model is there as it is configured now, and the old way is not loaded again and again."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.slow_llama_worker")
    config = llama("a")
    async with await started(file, config) as served:
        load = asyncio.ensure_future(served.llm.load_model("local/a"))
        await eventually(lambda: served.models.list()[0].state == "loading")
        config["providers"]["local"]["models"]["a"]["n_ctx"] = 768
        await edited(served, file, config)
        async with asyncio.timeout(30.0):
            assert (await load).pid == pid_of(served, "a")
        await eventually(lambda: len(served.models.list()) == 1)
        assert served.loads() <= 2
