"""Installing and removing models on a LocalAI server."""

import asyncio

import pytest

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ProviderError
from core.llm.testing import FakeClock
from core.llm.testing.localai_server import LocalAIModelSpec, LocalAIOffer
from tests.wire.lm_studio.support import until

APPLY = "/models/apply"


@pytest.mark.parametrize(("size", "total"), [(4_000, 4_000), (0, 100.0)])
async def test_an_installation_is_followed_to_its_end(serve, make, events, recorder, size, total):
    """Progress rises, in bytes where the server tells them, else in per cent."""
    server = await serve()
    server.publish(LocalAIOffer(LocalAIModelSpec("new"), bytes=size))
    provider = await make(server, events=events, clock=FakeClock(auto_advance=True))
    seen = []
    info = await provider.pull_model("localai@new", seen.append)

    assert (info.name, info.loaded, info.facts.context_window) == ("new", False, 8192)
    amounts = [progress.completed for progress in seen if progress.completed is not None]
    assert amounts == sorted(amounts)
    assert (seen[-1].completed, seen[-1].total) == (total, total)
    kinds = [(event.kind, event.state) for event in recorder.of(ModelEvent)]
    assert (kinds[0], kinds[-1]) == (("pull", "pulling"), ("pull", "pulled"))


async def test_a_failed_installation_is_an_error(serve, make):
    """With the reason that the server gives."""
    server = await serve()
    server.publish(LocalAIOffer(LocalAIModelSpec("new"), error="no space left on device"))
    provider = await make(server, clock=FakeClock(auto_advance=True))
    for model, reason in (("new", "no space left"), ("nowhere", "no model found")):
        with pytest.raises(ProviderError, match=reason) as caught:
            await provider.pull_model(model)
        assert (caught.value.code, caught.value.model) == ("pull_failed", model)


async def test_an_installation_that_stands_still_is_stopped(serve, make):
    """F148."""
    server = await serve()
    server.publish(LocalAIOffer(LocalAIModelSpec("new"), stalls=True))
    provider = await make(server, clock=FakeClock(auto_advance=True), pull_stall_timeout="60s")
    with pytest.raises(ProviderError) as caught:
        await provider.pull_model("new")

    assert caught.value.code == "pull_stalled"
    assert [job.cancelled for job in server.jobs.values()] == [True]


@pytest.mark.parametrize("pauses", [True, False])
async def test_a_cancelled_installation_is_stopped_on_the_server(serve, make, pauses):
    """ML-22: paused where the server can, so that the next goes on; else cancelled."""
    server = await serve(pauses=pauses)
    server.publish(LocalAIOffer(LocalAIModelSpec("new"), steps=6))
    clock = FakeClock()
    provider = await make(server, clock=clock)
    caller = asyncio.create_task(provider.pull_model("new"))
    await until(lambda: server.calls_to(APPLY))
    while not any(job.step >= 2 for job in server.jobs.values()):
        await clock.advance(0.5)
        await asyncio.sleep(0.005)
    caller.cancel()
    await asyncio.wait([caller])
    await until(lambda: all(job.cancelled for job in server.jobs.values()))

    assert caller.cancelled()
    assert (server.offers["localai@new"].kept >= 2) is pauses


async def test_an_address_is_installed_as_one(serve, make):
    """A definition that is in no gallery."""
    server = await serve()
    provider = await make(server, clock=FakeClock(auto_advance=True), pull_from=["example.com"])
    with pytest.raises(ProviderError, match="no model found"):
        await provider.pull_model("https://example.com/model.yaml")

    assert server.calls_to(APPLY)[0].body == {"url": "https://example.com/model.yaml"}


async def test_a_model_is_removed(serve, make):
    """And what cannot be removed says so."""
    server = await serve()
    provider = await make(server, clock=FakeClock(auto_advance=True))
    await provider.delete_model("seer")
    assert [info.name for info in await provider.list_models()] == ["embedder", "tiny"]
    with pytest.raises(ProviderError, match="not deleted: model seer not found"):
        await provider.delete_model("seer")


async def test_the_gallery_is_listed(serve, make):
    """With the names that an installation takes."""
    server = await serve()
    server.publish("new", "tiny")
    offers = await (await make(server)).available_models()

    assert [(offer.id, offer.installed) for offer in offers] == [("localai@new", False), ("localai@tiny", True)]
