"""Load, unload, crash, replace, reload of the configuration: with the real engine in real processes."""

import asyncio
import os
import shutil
import signal
import time

import psutil
import pytest

from core.llm.common.exceptions import ModelLoadError, ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.provider import Embedder, ModelHost, TokenCounter
from core.llm.providers.base.response import TextDelta
from core.llm.providers.llama_cpp import embedded, local_model
from tests.leaks import Resources, assert_nothing_left
from tests.unit.providers.llama_cpp.conftest import chat, texts

pytestmark = pytest.mark.leakcheck


@pytest.fixture
def copy(tmp_path):
    """A copy of the model file that a test may damage."""
    return str(shutil.copy(embedded.path(), tmp_path / "copy.gguf"))


async def state(provider, model="tiny"):
    """Where the model is in its life."""
    return (await provider.model_status(model)).state


async def test_a_model_is_loaded_by_its_first_call_and_unloaded_on_request(provider):
    """The events tell each step, and after the unload its process is gone."""
    assert isinstance(provider, ModelHost)
    assert isinstance(provider, Embedder)
    assert isinstance(provider, TokenCounter)
    assert await state(provider) == "unloaded"
    await provider.generate(chat("hello"))
    loaded = await provider.model_status("tiny")
    assert loaded.state == "ready"
    assert 10 * 2**20 < loaded.memory_bytes < 500 * 2**20
    assert psutil.pid_exists(loaded.pid)
    (listed,) = await provider.list_models()
    assert (listed.name, listed.loaded, listed.size_bytes) == ("tiny", True, embedded.path().stat().st_size)
    unloaded = await provider.unload_model("tiny")
    assert (unloaded.state, unloaded.pid, unloaded.memory_bytes) == ("unloaded", None, None)
    assert not psutil.pid_exists(loaded.pid)
    assert [(event.model, event.kind, event.state) for event in provider.told] == [
        ("local/tiny", "load", "loading"),
        ("local/tiny", "load", "ready"),
        ("local/tiny", "unload", "unloading"),
        ("local/tiny", "unload", "unloaded"),
    ]
    assert provider.told[1].message.endswith(" s")


async def test_fifty_calls_of_a_cold_model_load_it_once_F142(provider):
    """All are answered by one process."""
    answers = await asyncio.gather(*[provider.generate(chat("hello", max_tokens=2)) for _ in range(50)])
    assert len({answer.content for answer in answers}) == 1
    assert [event.state for event in provider.told] == ["loading", "ready"]


async def test_loading_explicitly_reports_progress(provider):
    """And is done at once when the model is there already."""
    steps = []
    status = await provider.load_model("tiny", steps.append)
    again = await provider.load_model("tiny")
    assert [step.message for step in steps] == ["loading", "ready"]
    assert status.pid == again.pid
    assert status.load_seconds > 0


async def test_a_call_in_use_is_seen_and_survives_an_unload_F143(provider):
    """The answer is completed first. It is longer than what an engine may be ahead of its reader."""
    events = provider.stream_generate(chat(stream=True, raw={"ignore_eos": True}))
    seen = [await anext(events) for _ in range(3)]
    assert await state(provider) == "in_use"
    unloading = asyncio.create_task(provider.unload_model("tiny"))
    seen += [event async for event in events]
    await unloading
    assert type(seen[-1]).__name__ == "StreamFinish"
    assert await state(provider) == "unloaded"


async def test_a_killed_worker_fails_only_its_calls_and_comes_back_WK01_WK03_F137(make_provider):
    """Before the first token the call may be tried again; afterwards its output is accounted for."""
    provider = await make_provider({"tiny": {"path": "embedded", "n_parallel": 1}, "other": "embedded"})
    events = provider.stream_generate(chat(stream=True, raw={"ignore_eos": True}))
    while not isinstance(await anext(events), TextDelta):
        pass
    waiting = asyncio.create_task(provider.generate(chat("hello")))  # the only slot is taken
    other = asyncio.create_task(provider.generate(chat("hello", model="other")))
    await asyncio.sleep(0.02)
    pid = (await provider.model_status("tiny")).pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ProviderError) as caught:
        async for _ in events:
            pass
    error = caught.value
    assert (error.type, error.code, error.retryable) == ("server_error", "worker_crashed", True)
    assert error.billing == "estimated"
    assert "SIGKILL" in error.message
    assert (error.provider, error.model) == ("local", "tiny")
    assert (await other).content
    assert (await waiting).content  # it had not been sent yet: served by the next process
    assert (await provider.model_status("tiny")).pid != pid
    assert ("crash", "failed") in {(event.kind, event.state) for event in provider.told}


async def test_a_crash_before_the_first_token_costs_nothing_WK03(make_provider, monkeypatch):
    """The pipeline may send the call again."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.dying_llama_worker")
    provider = await make_provider()
    for call in (provider.generate(chat()), provider.embed(texts("a"))):
        with pytest.raises(ProviderError) as caught:
            await call
        assert (caught.value.code, caught.value.billing, caught.value.retryable) == ("worker_crashed", "none", True)


async def test_a_file_that_is_replaced_is_loaded_anew(make_provider, copy):
    """By renaming another over it, as one should; calls in between wait for it."""
    provider = await make_provider({"tiny": copy})
    before = (await provider.generate(chat("hello"))).content
    first = (await provider.model_status("tiny")).pid
    shutil.copy(embedded.path(), copy + ".new")
    os.replace(copy + ".new", copy)
    answers = await asyncio.gather(*[provider.generate(chat("hello")) for _ in range(4)])
    assert {answer.content for answer in answers} == {before}
    assert (await provider.model_status("tiny")).pid != first
    assert [event.state for event in provider.told if event.kind == "load"] == ["loading", "ready"] * 2


async def test_a_file_that_is_overwritten_in_place_does_not_spoil_later_answers(make_provider, copy):
    """llama.cpp maps the file, and would answer from whatever stands in it (trap 2)."""
    provider = await make_provider({"tiny": copy})
    before = (await provider.embed(texts("hello"))).vectors
    data = embedded.path().read_bytes()
    with open(copy, "r+b") as file:
        file.write(b"\0" * len(data))
        file.flush()
        with pytest.raises(ModelLoadError, match="not a GGUF file"):
            await provider.embed(texts("hello"))
        file.seek(0)
        file.write(data)
    assert (await provider.embed(texts("hello"))).vectors == before


async def test_a_bad_file_that_replaces_a_good_one_does_not_end_the_loaded_model_F140(make_provider, copy):
    """The old content is still in memory; the problem is told, and a good file is taken up again."""
    provider = await make_provider({"tiny": copy})
    first = (await provider.load_model("tiny")).pid
    with open(copy + ".new", "wb") as file:
        file.write(embedded.path().read_bytes()[:900_000])
    os.replace(copy + ".new", copy)
    for _ in range(3):
        assert (await provider.generate(chat("hello"))).content
    status = await provider.model_status("tiny")
    assert status.pid == first
    assert "cut off" in status.detail
    assert [event.state for event in provider.told] == ["loading", "ready", "failed"]
    assert (await provider.health_check()).healthy
    assert provider.facts("tiny").context_window == 1024
    shutil.copy(embedded.path(), copy + ".new")
    os.replace(copy + ".new", copy)
    assert (await provider.generate(chat("hello"))).content
    status = await provider.model_status("tiny")
    assert status.pid != first
    assert status.detail == ""


async def test_a_model_whose_file_was_deleted_serves_on(make_provider, copy):
    """It is in memory; only the next load will fail."""
    provider = await make_provider({"tiny": copy})
    await provider.load_model("tiny")
    os.unlink(copy)
    assert (await provider.generate(chat("hello"))).content
    await provider.unload_model("tiny")
    with pytest.raises(ModelLoadError, match="there is no file"):
        await provider.generate(chat("hello"))
    assert await state(provider) == "failed"


async def test_an_unchanged_model_survives_a_new_configuration(make_provider):
    """What does not touch its loading keeps its process; what does gives it a new one."""
    old = await make_provider()
    pid = (await old.load_model("tiny")).pid
    same = await make_provider(timeouts={"total": "5m"}, default_model="tiny")
    await old.close()
    assert (await same.model_status("tiny")).pid == pid
    changed = await make_provider({"tiny": {"path": "embedded", "n_ctx": 512}})
    assert (await changed.load_model("tiny")).pid != pid
    assert changed.facts("tiny").context_window == 512
    assert (await same.generate(chat("hello"))).content
    assert (await same.model_status("tiny")).pid == pid
    await same.close()
    assert not psutil.pid_exists(pid)
    assert (await changed.generate(chat("hello"))).content


async def test_eight_load_cycles_leave_nothing_WK08(provider):
    """No descriptor, no process; the model's memory goes with its process."""
    await provider.load_model("tiny")
    await provider.unload_model("tiny")
    before, memory = Resources.now(), psutil.Process().memory_info().rss
    for _ in range(8):
        assert (await provider.generate(chat("hello", max_tokens=2))).content
        await provider.unload_model("tiny")
    await assert_nothing_left(before)
    assert psutil.Process().memory_info().rss - memory < 10 * 2**20


async def test_a_deadline_that_passes_while_loading_leaves_the_load_to_others_F141(make_provider, monkeypatch):
    """The call fails in time, the next one finds the model further along."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.slow_llama_worker")
    provider = await make_provider()
    began = time.monotonic()
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat("hello", limits=PhaseLimits(deadline_at=began + 0.2)))
    assert caught.value.code == "deadline_exceeded"
    assert time.monotonic() - began < 20
    assert (await provider.generate(chat("hello"))).content
    assert [event.state for event in provider.told] == ["loading", "ready"]


async def test_a_load_that_takes_too_long_is_stopped_F141(make_provider, monkeypatch):
    """`load_timeout` is what counts, and the message says so."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.workers.slow_llama_worker")
    provider = await make_provider(load_timeout="200ms")
    with pytest.raises(ModelLoadError, match="not ready within"):
        await provider.load_model("tiny")
    assert (await provider.model_status("tiny")).pid is None
