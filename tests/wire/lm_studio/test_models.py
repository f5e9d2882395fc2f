"""Load, unload and status of models on an LM Studio server, end to end over HTTP."""

import asyncio

import pytest

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.provider import ModelHost, ModelPuller, ModelStatus
from core.llm.testing import FakeClock
from core.llm.testing.lm_studio_server import LMStudioServer, OpenAIAnswer
from tests.wire.lm_studio.support import chat_request, embedding_request, until

LOAD, UNLOAD = "/api/v1/models/load", "/api/v1/models/unload"


def states(recorder):
    return [(event.kind, event.state) for event in recorder.of(ModelEvent)]


async def test_it_hosts_and_pulls_models(provider):
    """What the rest of the library asks it for."""
    assert isinstance(provider, ModelHost)
    assert isinstance(provider, ModelPuller)


async def test_a_model_is_loaded_and_unloaded(make, server, events, recorder):
    """ML-20: the end of an unload is what the server's list says."""
    provider = await make(events=events)
    assert await provider.model_status("tiny") == ModelStatus("tiny", "unloaded")
    loaded = await provider.load_model("tiny")
    assert (loaded.state, loaded.memory_bytes, loaded.load_seconds >= 0) == ("ready", 1_000_000, True)
    assert server.loaded() == ["tiny"]
    assert (await provider.model_status("tiny")).state == "ready"
    assert (await provider.unload_model("tiny")).state == "unloaded"

    assert server.loaded() == []
    assert states(recorder) == [("load", "loading"), ("load", "ready"), ("unload", "unloading"), ("unload", "unloaded")]
    assert {event.model for event in recorder.of(ModelEvent)} == {"lm_studio/tiny"}


async def test_a_model_that_is_loaded_is_not_loaded_again(provider, server):
    """LM Studio would make a second instance of it."""
    await provider.load_model("tiny")
    again = await provider.load_model("tiny")

    assert again.state == "ready"
    assert server.loaded() == ["tiny"]


async def test_fifty_loads_are_one(make, server):
    """F142."""
    server.models["tiny"].load_seconds = 5
    provider = await make()
    loads = [asyncio.create_task(provider.load_model("tiny")) for _ in range(50)]
    await until(lambda: server.calls_to(LOAD))
    assert (await provider.model_status("tiny")).state == "loading"
    await server.clock.advance(5)

    assert {status.state for status in await asyncio.gather(*loads)} == {"ready"}
    assert server.state.loads == ["tiny"]


async def test_a_cancelled_caller_does_not_stop_the_load(make, server):
    """ML-20: the load is the manager's, not the caller's."""
    server.models["tiny"].load_seconds = 5
    provider = await make()
    caller = asyncio.create_task(provider.load_model("tiny"))
    await until(lambda: server.calls_to(LOAD))
    caller.cancel()
    await asyncio.wait([caller])
    await server.clock.advance(5)

    assert (await provider.load_model("tiny")).state == "ready"
    assert server.state.loads == ["tiny"]


async def test_a_load_that_takes_too_long_fails_with_its_limit(make, server, events, recorder):
    """F141, ML-12: by the provider's own limit."""
    server.models["tiny"].load_seconds = 60
    clock = FakeClock()
    provider = await make(events=events, clock=clock, load_timeout="5s")
    task = asyncio.create_task(provider.load_model("tiny"))
    await until(lambda: server.calls_to(LOAD))
    await clock.advance(6)
    with pytest.raises(ProviderError, match="load_timeout") as caught:
        await task

    assert (caught.value.type, caught.value.code, caught.value.model) == ("timeout", "load_timeout", "tiny")
    assert states(recorder)[-1] == ("load", "failed")
    await until(lambda: not server.open_calls)


async def test_a_load_that_fails_says_why_until_it_succeeds(provider, server):
    """ML-11: the reason is in the status."""
    reason = {
        "error": {"message": "Model loading was stopped due to insufficient system resources", "type": "internal"}
    }
    server.fail(LOAD, 500, reason)
    with pytest.raises(ProviderError, match="insufficient system resources"):
        await provider.load_model("tiny")
    status = await provider.model_status("tiny")
    assert (status.state, "insufficient" in status.detail) == ("failed", True)

    await provider.load_model("tiny")
    assert (await provider.model_status("tiny")).state == "ready"


async def test_a_model_that_is_not_on_disk_is_named(provider):
    """And is a matter of that model only."""
    with pytest.raises(ProviderError) as caught:
        await provider.load_model("nowhere")

    assert (caught.value.type, caught.value.scope) == ("model_not_found", "model")
    assert "nowhere" in str(caught.value)


async def test_load_options_are_sent_and_the_result_is_checked(make, server):
    """ML-19: every way of loading sends the same options."""
    provider = await make(
        options={"context_length": 8192}, models={"tiny": {"options": {"flash_attention": False}}, "other": {}}
    )
    loaded = await provider.load_model("tiny")

    assert server.calls_to(LOAD)[0].body == {
        "model": "tiny",
        "context_length": 8192,
        "flash_attention": False,
        "echo_load_config": True,
    }
    assert loaded.detail == ""
    assert server.state.instances["tiny"].config["context_length"] == 8192


async def test_a_model_that_others_loaded_differently_is_used_and_reported(make, server):
    """Nobody's model is thrown out of memory; what is different is said."""
    first = await make()
    await first.load_model("tiny")
    provider = await make(options={"context_length": 8192})
    status = await provider.load_model("tiny")

    assert status.state == "ready"
    assert "context_length 4096 instead of 8192" in status.detail
    assert server.state.loads == ["tiny"]


async def test_the_shapes_of_the_preview_are_read_too():
    """It names the instance and its configuration otherwise, and ignores options that stand beside the model."""
    async with LMStudioServer("tiny", preview=True) as server:
        from core.llm.providers.lm_studio.config import LMStudioConfig
        from core.llm.providers.lm_studio.provider import LMStudioProvider
        from core.llm.testing import provider_services

        config = LMStudioConfig(base_url=server.url, options={"context_length": 8192})
        provider = LMStudioProvider(config, provider_services("lm_studio"))
        await provider.start()
        status = await provider.load_model("tiny")

        assert status.state == "ready"
        assert "context_length 4096 instead of 8192" in status.detail
        assert (await provider.unload_model("tiny")).state == "unloaded"
        await provider.close()


async def test_all_instances_of_a_model_are_unloaded(provider, server):
    """Others may have made more of them."""
    for _ in range(2):
        await provider.api.load("tiny", {})
    assert server.loaded() == ["tiny", "tiny:2"]
    assert (await provider.model_status("tiny")).detail == "2 instances"
    await provider.unload_model("tiny")

    assert server.loaded() == []


async def test_one_instance_is_unloaded_by_its_id(provider, server):
    """The others stay."""
    for _ in range(2):
        await provider.api.load("tiny", {})
    await provider.unload_model("tiny:2")

    assert server.loaded() == ["tiny"]


async def test_unloading_what_has_gone_meanwhile_is_no_error(provider, server):
    """ML-20: others unload too."""
    await provider.load_model("tiny")
    gone = {"error": {"message": "Model instance tiny not found", "type": "invalid_request_error"}}
    server.fail(UNLOAD, 404, gone)
    server.state.instances["tiny"].ttl = 1.0
    task = asyncio.create_task(provider.unload_model("tiny"))
    await until(lambda: server.calls_to(UNLOAD))
    await server.clock.advance(2)

    assert (await task).state == "unloaded"


async def test_a_model_that_stays_in_memory_is_reported(make, server):
    """ML-20: an unload is confirmed by the list, or fails in time."""
    clock = FakeClock()
    provider = await make(clock=clock, unload_timeout="5s")
    await provider.load_model("tiny")
    server.fail(UNLOAD, 200, {"instance_id": "tiny"}, times=5)
    task = asyncio.create_task(provider.unload_model("tiny"))
    while not task.done():
        await clock.advance(0.5)
        await asyncio.sleep(0.005)
    with pytest.raises(ProviderError) as caught:
        task.result()

    assert caught.value.code == "unload_timeout"


async def test_models_loaded_here_are_unloaded_at_the_end_where_that_is_wanted(make, server):
    """ML-21: the server may be shared, so it has to be asked for."""
    await (await make()).load_model("other")
    leaving = await make(unload_on_stop=True)
    await leaving.load_model("tiny")
    await leaving.load_model("other")
    await leaving.close()

    assert server.loaded() == ["other"]


async def test_a_request_loads_a_model_and_its_time_to_live_follows_the_configuration(make, server):
    """ML-21: `keep_alive` goes along as `ttl`, in whole seconds; each request begins it anew."""
    provider = await make(keep_alive="5m", models={"other": {"keep_alive": "30s"}})
    await provider.generate(chat_request())
    assert server.calls[-1].body["ttl"] == 300
    await server.clock.advance(200)
    await provider.generate(chat_request())
    await server.clock.advance(299)
    assert server.loaded() == ["tiny"]
    await server.clock.advance(1)
    assert (await provider.model_status("tiny")).state == "unloaded"

    await provider.generate(chat_request(model="other"))
    await provider.embed(embedding_request("a"))
    assert [call.body["ttl"] for call in server.calls[-2:]] == [30, 300]


async def test_without_keep_alive_no_time_to_live_is_sent(provider, server):
    """Nothing is sent that nobody set."""
    await provider.generate(chat_request())

    assert "ttl" not in server.calls[-1].body


async def test_a_model_loaded_by_a_request_makes_room_for_the_next(provider, server):
    """What LM Studio does by itself is seen: the first one is gone, the one loaded on purpose stays."""
    await provider.load_model("other")
    await provider.generate(chat_request())
    await provider.embed(embedding_request("a"))

    assert (await provider.model_status("tiny")).state == "unloaded"
    assert {info.name for info in await provider.list_models() if info.loaded} == {"other", "embedder"}


async def test_a_model_with_options_is_loaded_with_them_before_its_first_request(make, server):
    """LM Studio would load it with its own; the list is not asked for each time."""
    provider = await make(options={"context_length": 8192})
    await provider.generate(chat_request())
    events = [event async for event in provider.stream_generate(chat_request(stream=True))]
    await provider.generate(chat_request())

    assert "".join(event.text for event in events) == "Hello there"
    assert server.state.instances["tiny"].config["context_length"] == 8192
    assert len(server.calls_to(LOAD)) == 1
    assert len(server.calls_to("/api/v1/models")) == 2


async def test_a_model_with_options_that_has_gone_is_loaded_again(make, server):
    """Seen after ten seconds at the latest, or at the first error."""
    clock = FakeClock()
    provider = await make(clock=clock, options={"context_length": 8192})
    await provider.generate(chat_request())
    server.state.instances.clear()
    await clock.advance(11)
    await provider.generate(chat_request())

    assert server.state.loads == ["tiny", "tiny"]
    assert server.state.instances["tiny"].config["context_length"] == 8192


async def test_a_call_ends_in_time_although_its_model_is_still_being_loaded(make, server):
    """ML-10: the load goes on for the next call."""
    server.models["tiny"].load_seconds = 60
    clock = FakeClock()
    provider = await make(clock=clock, options={"context_length": 8192})
    request = chat_request(limits=PhaseLimits(deadline_at=clock.monotonic() + 3))
    task = asyncio.create_task(provider.generate(request))
    await until(lambda: server.calls_to(LOAD))
    await clock.advance(4)
    with pytest.raises(ProviderError) as caught:
        await task
    assert (caught.value.type, caught.value.code) == ("timeout", "deadline_exceeded")
    await server.clock.advance(60)
    await provider.generate(chat_request())

    assert server.state.loads == ["tiny"]


async def test_a_model_in_use_is_not_evicted(provider, server):
    """By the scripted server as by the real one: an answer that is under way is finished."""
    gate = asyncio.Event()
    server.script(OpenAIAnswer("one two", hold=gate))
    answer = asyncio.create_task(provider.generate(chat_request()))
    await until(lambda: "tiny" in server.loaded())
    await provider.generate(chat_request(model="other"))
    gate.set()

    assert (await answer).content == "one two"
