"""From the start of the service to its end: what is loaded ahead, what is kept, what a death does, what is left."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from core.llm.common.exceptions import AllAttemptsFailed, LLMError, ModelLoadError, ModelNotReady, ProviderError
from core.llm.providers.llama_cpp import embedded, local_model
from tests.residency.service import Served, eventually, llama

pytestmark = pytest.mark.leakcheck

ENDLESS = {"local": {"ignore_eos": True}}
"""The answer goes on until its limit."""


def process(served: Served, model: str) -> int | None:
    """The process that holds a model."""
    return served.llm._holder.current.providers["local"]._models[model].pid


async def test_ML15_a_preload_in_the_background_does_not_hold_up_the_start():
    """Calls that come meanwhile share its load."""
    async with Served(llama("a", "b", preload=["local/a", "local/b"])) as served:
        await eventually(lambda: served.ready() == {"local/a", "local/b"})
        await served.llm.generate("hi", model="local/a", max_tokens=2)
        assert served.loads() == 2


@pytest.mark.parametrize("mode", ["blocking", "required"])
async def test_ML15_the_start_waits_for_its_models_where_it_is_told_to(mode):
    """They are in memory before the first call is admitted."""
    async with Served(llama("a", "b", preload=["fast", "local/b"], preload_mode=mode)) as served:
        assert served.ready() == {"local/a", "local/b"}


async def test_ML15_a_required_model_that_cannot_be_loaded_fails_the_start(tmp_path):
    """With the reason; nothing is left of the others."""
    config = llama("a", preload=["local/a", "local/gone"], preload_mode="required")
    config["providers"]["local"]["models"]["gone"] = {"path": str(tmp_path / "gone.gguf")}
    served = Served(config)
    with pytest.raises(ModelLoadError, match=r"there is no file .*gone\.gguf"):
        await served.__aenter__()


async def test_ML15_a_blocking_preload_that_fails_is_logged_and_the_start_goes_on(tmp_path, logged):
    """The others are there."""
    config = llama("a", preload=["local/a", "local/gone"], preload_mode="blocking")
    config["providers"]["local"]["models"]["gone"] = {"path": str(tmp_path / "gone.gguf")}
    async with Served(config) as served:
        assert served.ready() == {"local/a"}
    assert any("local/gone was not preloaded" in line for line in logged)


async def test_ML15_a_blocking_preload_that_takes_too_long_is_logged_and_goes_on(monkeypatch, logged):
    """The start waits for `preload_timeout` and no longer."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.slow_llama_worker")
    config = llama("a", preload=["local/a"], preload_mode="blocking", preload_timeout="100ms")
    async with Served(config) as served:
        assert served.ready() == set()
        await eventually(lambda: served.ready() == {"local/a"})
    assert any("local/a: not loaded within 0.1 s; the start goes on" in line for line in logged)


async def test_ML18_at_the_end_calls_end_first_and_no_process_is_left():
    """Loads that nobody waits for are called off."""
    served = Served(llama("a", "b", "c", preload=["local/c"]))
    await served.__aenter__()
    stream = served.llm.stream("hello", model="local/a", max_tokens=50)
    async with stream:
        first = await anext(stream)
        pids = [pid for model in ("a", "b", "c") if (pid := process(served, model))]
        stop = asyncio.ensure_future(served.__aexit__())
        text = first.text + "".join([event.text async for event in stream])
        assert text
    await stop
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(LLMError):
        await served.models.load("local/a")


async def test_F142_fifty_first_calls_of_an_alias_load_its_model_once():
    """Streams, whole answers and explicit loads alike."""
    async with Served(llama("a")) as served:
        await asyncio.gather(
            *[served.llm.generate("hi", model="fast", max_tokens=2) for _ in range(40)],
            *[served.llm.load_model("fast") for _ in range(10)],
        )
        assert served.loads() == 1


async def test_ML19_aliases_with_options_of_their_own_are_loaded_once_each():
    """A hundred calls to four ways of loading one file are four loads."""
    async with Served(llama("a", "b", "c", "d")) as served:
        await asyncio.gather(
            *[
                served.llm.generate("hi", model=f"local/{'abcd'[number % 4]}", max_tokens=2, temperature=number / 100)
                for number in range(100)
            ]
        )
        assert served.loads() == 4


async def test_F137_a_worker_killed_while_it_answers_is_started_again():
    """The call that had output fails as broken, the next ones are answered by a new process; no lease is left."""
    async with Served(llama("a")) as served:
        await served.llm.load_model("local/a")
        first = process(served, "a")
        with pytest.raises(ProviderError, match="SIGKILL"):
            async with served.llm.stream("hello", model="local/a", max_tokens=450, extra=ENDLESS) as stream:
                await anext(stream)
                os.kill(first, signal.SIGKILL)
                async for _ in stream:
                    pass
        assert served.leases() == 0
        assert (await served.llm.generate("hi", model="local/a", max_tokens=2)).content
        assert process(served, "a") != first


async def test_F137_a_pinned_model_comes_back_without_a_call():
    """Its process was killed while nobody used it."""
    async with Served(llama("a", pinned=["local/a"])) as served:
        await eventually(lambda: served.ready() == {"local/a"})
        first = process(served, "a")
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: process(served, "a") not in {None, first})
        await eventually(lambda: served.ready() == {"local/a"})


async def test_F137_an_unpinned_model_that_was_killed_takes_no_room_any_more():
    """The books follow at once; the next call loads it."""
    async with Served(llama("a", "b", max_loaded=1)) as served:
        await served.llm.load_model("local/a")
        os.kill(process(served, "a"), signal.SIGKILL)
        await eventually(lambda: served.ready() == set())
        await served.llm.generate("hi", model="local/b", max_tokens=2)
        assert served.ready() == {"local/b"}


async def test_F137_a_worker_killed_while_it_loads_is_started_once_more(monkeypatch):
    """Nobody who waits hears of it: a load that was killed by chance need not fail a call."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.slow_llama_worker")
    async with Served(llama("a")) as served:
        calls = [asyncio.ensure_future(served.llm.generate("hi", model="local/a", max_tokens=2)) for _ in range(5)]
        await kill_loader()
        assert all(answer.content for answer in await asyncio.gather(*calls))
        assert served.loads() == 1


async def test_F137_a_worker_killed_twice_while_it_loads_fails_the_load_and_the_next_one_works(monkeypatch):
    """All who waited are told; nothing of the process is left."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.slow_llama_worker")
    async with Served(llama("a")) as served:
        calls = [asyncio.ensure_future(served.llm.load_model("local/a")) for _ in range(5)]
        first = await kill_loader()
        await kill_loader(first)
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(end, ModelLoadError) for end in ends), ends
        assert (await served.llm.load_model("local/a")).state == "ready"


async def kill_loader(before: int = 0) -> int:
    """Kill the worker that comes next, after the one with the process id *before*."""
    me = psutil.Process()

    def found() -> list[psutil.Process]:
        return [child for child in me.children() if child.pid != before]

    await eventually(lambda: bool(found()))
    child = found()[0]
    child.kill()
    return child.pid


async def test_F137_a_worker_killed_while_it_is_unloaded_is_simply_gone():
    """The unload succeeds, and the next call loads anew."""
    async with Served(llama("a")) as served:
        await served.llm.load_model("local/a")
        async with served.models.lease("local/a"):
            unload = asyncio.ensure_future(served.llm.unload_model("local/a"))
            await eventually(lambda: served.models.list()[0].state == "draining")
            os.kill(process(served, "a"), signal.SIGKILL)
            assert (await unload).state in {"unloaded", "failed"}
        assert (await served.llm.generate("hi", model="local/a", max_tokens=2)).content


async def test_F143_an_unload_by_hand_cuts_a_call_that_nobody_reads():
    """When its time is up, not when the provider's own patience is."""
    async with Served(llama("a")) as served:
        async with served.llm.stream("hi", model="local/a", extra={"local": {"ignore_eos": True}}) as stream:
            events = aiter(stream)
            await anext(events)
            async with asyncio.timeout(25.0):  # unload_timeout is 30 s
                assert (await served.models.unload("local/a", drain=0.2)).state == "unloaded"
            with pytest.raises(ProviderError, match="unloaded") as caught:
                async for _ in events:
                    pass
            assert caught.value.code == "worker_stopped"
        assert served.leases() == 0
        assert (await served.llm.generate("hi", model="local/a", max_tokens=2)).content


async def test_F140_a_damaged_file_is_a_reason_and_no_process(tmp_path):
    """The model that was there serves on."""
    config = llama("a")
    file = Path(shutil.copy(embedded.path(), tmp_path / "half.gguf"))
    os.truncate(file, file.stat().st_size // 2)
    config["providers"]["local"]["models"]["half"] = {"path": str(file)}
    async with Served(config) as served:
        await served.llm.load_model("local/a")
        with pytest.raises(ModelLoadError, match=r"cut off|shorter"):
            await served.llm.load_model("local/half")
        begun = time.monotonic()
        with pytest.raises((ModelLoadError, AllAttemptsFailed)):
            await served.llm.generate("hi", model="local/half")
        assert time.monotonic() - begun < 30.0
        assert served.ready() == {"local/a"}


async def test_ML17_a_lease_without_waiting_is_for_what_is_ready():
    """And keeps the model where it is."""
    async with Served(llama("a", "b", max_loaded=1, patience="1h", acquire_timeout="300ms")) as served:
        with pytest.raises(ModelNotReady):
            async with served.models.lease("local/a", wait=0):
                pass
        async with served.models.lease("local/a") as ref:
            assert str(ref) == "local/a"
            with pytest.raises(LLMError, match="no room"):
                await served.llm.generate("hi", model="local/b")
        await served.llm.generate("hi", model="local/b", max_tokens=2)


async def test_ML17_a_call_spills_to_another_model_while_one_loads(monkeypatch):
    """`prefer_loaded`: nobody waits for a load who need not, and the load goes on in the background."""
    from core.llm.testing import SCRIPTED

    monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.slow_llama_worker")
    config = llama("a", prefer_loaded=True)
    config["providers"]["far"] = {"type": "scripted", "models": ["m"]}
    config["models"]["fast"] = {"use": "local/a", "fallback": ["far/m"]}
    async with Served(config, plugins=[SCRIPTED]) as served:
        assert (await served.llm.generate("hi", model="fast")).provider == "far"
        await eventually(lambda: served.ready() == {"local/a"})
        assert (await served.llm.generate("hi", model="fast", max_tokens=2)).provider == "local"
        # Without another candidate there is nothing to spill to.
        await served.llm.unload_model("local/a")
        assert (await served.llm.generate("hi", model="local/a", max_tokens=2)).provider == "local"


async def test_what_is_listed_tells_who_uses_what():
    """State, memory, leases, idle time, device and pins, for a table."""
    async with Served(llama("a", "b")) as served:
        await served.models.pin("local/a")
        await eventually(lambda: served.ready() == {"local/a"})
        async with served.models.lease("local/a"):
            a, b = sorted(served.models.list(), key=lambda one: one.model)
            assert (a.state, a.leases, a.pinned, a.device, a.idle_seconds, a.owned) == (
                "in_use",
                1,
                True,
                "cpu",
                None,
                True,
            )
            assert a.memory_bytes > 10 * 2**20
        assert (b.state, b.leases, b.loads, b.loaded_by_us) == ("unloaded", 0, 0, False)
        (a, _) = sorted(served.models.list(), key=lambda one: one.model)
        assert a.idle_seconds is not None
        await served.models.unpin("local/a")
        assert not any(one.pinned for one in served.models.list())


async def test_F147_a_deadline_that_passes_while_the_model_loads_says_so(monkeypatch):
    """Whoever raises the limit knows what for; the load goes on."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.slow_llama_worker")
    async with Served(llama("a")) as served:
        with pytest.raises(ProviderError, match="local/a was being loaded") as caught:
            await served.llm.generate("hi", model="local/a", timeout=0.2)
        assert caught.value.code == "deadline_exceeded"
        await eventually(lambda: served.ready() == {"local/a"})
