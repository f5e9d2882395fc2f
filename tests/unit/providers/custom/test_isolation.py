"""What a class in threads of the host can do, and what it cannot."""

import asyncio
import os
import threading

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.response import TextDelta
from core.llm.providers.custom import own_model
from tests.leaks import Resources, assert_nothing_left
from tests.unit.providers.custom.conftest import ECHO
from tests.unit.providers.llama_cpp.conftest import chat
from tests.workers.own_engines import Echo

pytestmark = pytest.mark.leakcheck

IN_HERE = {"engine": ECHO, "isolation": "none"}


async def test_it_lives_in_this_process(make_provider):
    """The object is made here and told to unload, and has no process id or memory of its own."""
    provider = await make_provider({"tiny": IN_HERE})
    made, gone = Echo.made, Echo.unloaded
    status = await provider.load_model("tiny")
    assert (Echo.made, status.pid, status.memory_bytes) == (made + 1, None, None)
    await provider.unload_model("tiny")
    assert Echo.unloaded == gone + 1


async def test_otherwise_nothing_of_it_happens_here(make_provider):
    """The default."""
    provider = await make_provider({"tiny": {"engine": ECHO}})
    made = Echo.made
    assert (await provider.load_model("tiny")).pid not in {None, os.getpid()}
    assert Echo.made == made


async def test_an_unload_waits_for_its_calls_and_then_cuts_them(make_provider):
    """As with a process."""
    provider = await make_provider({"tiny": IN_HERE}, unload_timeout="200ms")
    events = provider.stream_generate(chat("forever", stream=True))
    while not isinstance(await anext(events), TextDelta):
        pass
    assert (await provider.model_status("tiny")).state == "in_use"
    await provider.unload_model("tiny")
    with pytest.raises(ProviderError, match="was unloaded") as caught:
        async for _ in events:
            pass
    assert caught.value.code == "worker_stopped"
    assert await asyncio.to_thread(Echo.stopped.wait, 10)
    Echo.stopped.clear()


async def test_calls_beyond_its_places_wait_and_too_many_are_refused(make_provider):
    """`parallel` and `max_waiting`."""
    provider = await make_provider({"tiny": IN_HERE}, max_waiting=1)
    events = provider.stream_generate(chat("forever", stream=True))
    await anext(events)
    waiting = asyncio.create_task(provider.generate(chat("x")))
    async with asyncio.timeout(30):
        while not provider._of("tiny")._models["tiny"]._worker.waiting:
            await asyncio.sleep(0.01)
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat("y"))
    assert caught.value.code == "queue_full"
    await events.aclose()
    assert (await waiting).content == "X "


async def test_one_that_hangs_keeps_its_thread_and_nothing_else(make_provider, monkeypatch, hanging):
    """Its call ends in time, and the class is made anew for the next."""
    spec = own_model.WorkerSpec
    monkeypatch.setattr(
        own_model, "WorkerSpec", lambda *args, **more: spec(*args, **more, cancel_timeout=0.2, term_grace=0.2)
    )
    provider = await make_provider({"tiny": {"engine": "tests.workers.own_engines:Deaf", "isolation": "none"}})
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat("x", limits=PhaseLimits(first_token=0.1)))
    assert caught.value.code == "first_token_timeout"
    async with asyncio.timeout(30):
        while (await provider.model_status("tiny")).state == "in_use":
            await asyncio.sleep(0.01)
    assert (await provider.load_model("tiny")).state == "ready"


async def test_twenty_cycles_leave_no_thread(make_provider):
    """Each ends with its unload."""
    provider = await make_provider({"tiny": IN_HERE})
    await provider.generate(chat("x"))
    await provider.unload_model("tiny")
    before = Resources.now()
    for _ in range(20):
        await provider.generate(chat("x"))
        await provider.unload_model("tiny")
    await assert_nothing_left(before)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("worker local/")]
