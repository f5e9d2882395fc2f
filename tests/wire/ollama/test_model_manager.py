"""Load, unload, pull and status of models on a server."""

import asyncio

import pytest

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.provider import ModelStatus
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.provider import OllamaProvider
from core.llm.testing import FakeClock, provider_services
from core.llm.testing.ollama_script import OllamaAnswer, OllamaDownload, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from tests.unit.providers.ollama.support import chat_request


async def until(condition, timeout=30.0):
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)


def states(recorder):
    return [(event.kind, event.state) for event in recorder.of(ModelEvent)]


async def test_a_model_is_loaded_and_unloaded(make, server, events, recorder):
    """ML-20: the end of an unload is what the server's list says."""
    provider = await make(events=events)
    assert await provider.model_status("tiny") == ModelStatus("tiny", "unloaded")
    loaded = await provider.load_model("tiny")
    assert (loaded.state, loaded.memory_bytes, loaded.load_seconds >= 0) == ("ready", 1_000_000, True)
    assert (await provider.model_status("tiny:latest")).state == "ready"
    assert (await provider.unload_model("tiny")).state == "unloaded"

    assert (await provider.model_status("tiny")).state == "unloaded"
    assert states(recorder) == [("load", "loading"), ("load", "ready"), ("unload", "unloading"), ("unload", "unloaded")]
    assert {event.model for event in recorder.of(ModelEvent)} == {"ollama/tiny"}


async def test_a_model_that_only_embeds_is_loaded_another_way(provider, server):
    """It refuses to generate, even nothing; it unloads like the others."""
    assert (await provider.load_model("embedder")).state == "ready"
    assert [call.path for call in server.calls][:2] == ["/api/generate", "/api/embed"]
    assert (await provider.unload_model("embedder")).state == "unloaded"


async def test_loading_never_asks_to_unload(make, server):
    """`keep_alive: immediate` is for calls; a preload with it would undo itself."""
    provider = await make(keep_alive="immediate")

    assert (await provider.load_model("tiny")).state == "ready"
    await provider.generate(chat_request("hi"))
    assert (await provider.model_status("tiny")).state == "unloaded"


async def test_fifty_loads_are_one(make, server):
    """F142."""
    server.store.installed["tiny:latest"].load_seconds = 0.05
    provider = await make()
    results = await asyncio.gather(*(provider.load_model("tiny") for _ in range(50)))

    assert {result.state for result in results} == {"ready"}
    assert len(server.calls_to("/api/generate")) == 1


async def test_a_cancelled_caller_does_not_abort_the_load(make, server):
    """Ollama aborts a load whose connection closes, so the connection is not the caller's."""
    server.store.installed["tiny:latest"].load_seconds = 0.2
    provider = await make()
    caller = asyncio.create_task(provider.load_model("tiny"))
    await until(lambda: server.open_streams)
    assert (await provider.model_status("tiny")).state == "loading"
    caller.cancel()
    await asyncio.wait([caller])

    assert (await provider.load_model("tiny")).state == "ready"
    assert len(server.store.loads) == 1


async def test_a_load_that_takes_too_long_fails_with_its_limit(server, events, recorder):
    """F141: by the provider's own limit, not by that for a first token."""
    clock = FakeClock()
    async with OllamaServer(OllamaModelSpec("slow", load_seconds=30)) as slow:
        provider = OllamaProvider(
            OllamaConfig(base_url=slow.url, load_timeout="5s"), provider_services("ollama", clock=clock, events=events)
        )
        await provider.start()
        task = asyncio.create_task(provider.load_model("slow"))
        await until(lambda: slow.open_streams)
        await clock.advance(6)
        with pytest.raises(ProviderError, match="load_timeout") as caught:
            await task

        assert (caught.value.type, caught.value.code, caught.value.model) == ("timeout", "load_timeout", "slow")
        assert states(recorder)[-1] == ("load", "failed")
        await until(lambda: not slow.open_streams)
        await provider.close()


async def test_a_load_that_fails_says_why_until_it_succeeds(make, server):
    provider = await make()
    server.fail("/api/generate", 500, "model requires more system memory (9 GiB) than is available (1 GiB)")
    with pytest.raises(ProviderError) as caught:
        await provider.load_model("tiny")
    status = await provider.model_status("tiny")

    assert (caught.value.code, status.state) == ("out_of_memory", "failed")
    assert "more system memory" in status.detail
    await provider.load_model("tiny")
    assert (await provider.model_status("tiny")).state == "ready"


async def test_unloading_waits_for_running_answers(make, server):
    """F143: nothing is freed under use."""
    provider = await make()
    gate = asyncio.Event()
    server.script(OllamaAnswer("one two three", hold=gate))
    answer = asyncio.create_task(provider.generate(chat_request("hi")))
    await until(lambda: server.open_streams)
    unload = asyncio.create_task(provider.unload_model("tiny"))
    await until(lambda: server.calls_to("/api/ps"))
    assert not unload.done()
    assert (await provider.model_status("tiny")).state == "unloading"
    gate.set()

    assert (await answer).content == "one two three"
    assert (await unload).state == "unloaded"


async def test_an_unload_that_does_not_happen_is_an_error(make, server):
    """Someone else keeps the model busy."""
    provider = await make(unload_timeout="100ms")
    gate = asyncio.Event()
    server.script(OllamaAnswer("x", hold=gate))
    answer = asyncio.create_task(provider.generate(chat_request("hi")))
    await until(lambda: server.open_streams)
    with pytest.raises(ProviderError) as caught:
        await provider.unload_model("tiny")

    assert (caught.value.type, caught.value.code) == ("timeout", "unload_timeout")
    gate.set()
    await answer


async def test_a_model_expires_by_its_keep_alive():
    """The state is asked from the server, so an expiry there is seen here."""
    clock = FakeClock()
    async with OllamaServer("tiny", clock=clock) as server:
        provider = OllamaProvider(OllamaConfig(base_url=server.url, keep_alive="5m"), provider_services("ollama"))
        await provider.start()
        await provider.load_model("tiny")
        await clock.advance(299)
        assert (await provider.model_status("tiny")).state == "ready"
        await clock.advance(2)
        assert (await provider.model_status("tiny")).state == "unloaded"
        await provider.close()


async def test_a_pull_reports_rising_progress_and_ends_complete(make, server, events, recorder):
    """ML-16, F148: the last report is always delivered."""
    provider = await make(events=events)
    server.publish(OllamaDownload(OllamaModelSpec("new", size=150), layers=(100, 50)))
    seen = []
    info = await provider.pull_model("new", seen.append)

    completed = [progress.completed for progress in seen if progress.completed is not None]
    assert completed == sorted(completed)
    assert (seen[-1].message, seen[-1].completed, seen[-1].total) == ("success", 150, 150)
    assert (info.name, info.size_bytes, info.facts.lacks("chat")) == ("new", 150, False)
    last = recorder.last(ModelEvent)
    assert (last.kind, last.state, last.completed, last.total) == ("pull", "pulled", 150, 150)


async def test_many_pulls_of_one_model_are_one(make, server):
    """ML-22."""
    provider = await make()
    server.publish("new")
    await asyncio.gather(*(provider.pull_model("new") for _ in range(10)), provider.pull_model("new:latest"))

    assert len(server.calls_to("/api/pull")) == 1


async def test_a_cancelled_pull_stops_the_traffic_and_can_be_resumed(make, server):
    """F148: within a second; what has arrived stays."""
    provider = await make()
    gate = asyncio.Event()
    download = OllamaDownload(OllamaModelSpec("new"), layers=(100,), hold=gate)
    server.publish(download)
    seen = []
    pull = asyncio.create_task(provider.pull_model("new", seen.append))
    await until(lambda: download.done and max(download.done.values()) >= 50)
    pull.cancel()
    await asyncio.wait([pull])

    assert pull.cancelled()
    await until(lambda: server.library.pulls_cut == 1)
    gate.set()
    resumed = []
    await provider.pull_model("new", resumed.append)
    assert resumed[-1].completed == 100
    assert [call.path for call in server.calls].count("/api/pull") == 2


@pytest.mark.parametrize(
    ("download", "kind", "code"),
    [
        ({"error": "write /models: no space left on device"}, "server_error", "disk_full"),
        ({"error": "digest mismatch, file must be downloaded again"}, "protocol", "digest_mismatch"),
        ({"cut": True}, "protocol", "truncated"),
    ],
)
async def test_a_pull_that_fails_is_never_complete(make, server, events, recorder, download, kind, code):
    """F148: with its reason; the next one continues and succeeds."""
    provider = await make(events=events)
    server.publish(OllamaDownload(OllamaModelSpec("new"), **download))
    with pytest.raises(ProviderError) as caught:
        await provider.pull_model("new")

    assert (caught.value.type, caught.value.code, caught.value.model) == (kind, code, "new")
    assert states(recorder)[-1] == ("pull", "failed")
    assert "new:latest" not in server.store.installed
    assert (await provider.pull_model("new")).name == "new"


async def test_loading_with_auto_pull_fetches_what_is_missing(make, server):
    provider = await make(auto_pull=True)
    server.publish("new")

    assert (await provider.load_model("new")).state == "ready"


@pytest.mark.leakcheck
async def test_closing_ends_a_load_that_is_running(server):
    """Nothing is left, and whoever waited is told."""
    server.store.installed["tiny:latest"].load_seconds = 30
    provider = OllamaProvider(OllamaConfig(base_url=server.url), provider_services("ollama"))
    await provider.start()
    waiting = asyncio.create_task(provider.load_model("tiny"))
    await until(lambda: server.open_streams)
    await provider.close()

    with pytest.raises(ProviderError) as caught:
        await waiting
    assert caught.value.type == "cancelled"
    await until(lambda: not server.open_streams)


@pytest.mark.parametrize("unload", [True, False])
async def test_what_was_loaded_here_is_unloaded_at_the_end_only_on_request(server, unload):
    """ML-21: the server may be shared."""
    provider = OllamaProvider(OllamaConfig(base_url=server.url, unload_on_stop=unload), provider_services("ollama"))
    await provider.start()
    await provider.load_model("tiny")
    await provider.close()

    assert bool(server.store.resident()) is not unload
