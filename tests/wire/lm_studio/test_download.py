"""Downloads to an LM Studio server."""

import asyncio

import pytest

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ProviderError
from core.llm.testing import FakeClock
from core.llm.testing.lm_studio_server import LMStudioDownload, LMStudioModelSpec
from tests.wire.lm_studio.support import until

DOWNLOAD = "/api/v1/models/download"


async def test_a_download_is_followed_to_its_end(make, server, events, recorder):
    """Progress rises in bytes; the last one says that it is complete."""
    server.publish(LMStudioDownload(LMStudioModelSpec("new", size_bytes=4_000)))
    provider = await make(events=events, clock=FakeClock(auto_advance=True))
    seen = []
    info = await provider.pull_model("new", seen.append)

    assert (info.name, info.loaded, info.size_bytes) == ("new", False, 4_000)
    amounts = [progress.completed for progress in seen]
    assert amounts == sorted(amounts)
    assert (seen[-1].message, seen[-1].completed, seen[-1].total) == ("completed", 4_000, 4_000)
    kinds = [(event.kind, event.state) for event in recorder.of(ModelEvent)]
    assert (kinds[0], kinds[-1]) == (("pull", "pulling"), ("pull", "pulled"))


async def test_what_is_on_disk_is_not_downloaded_again(provider, server):
    """LM Studio says so at once, without a job."""
    info = await provider.pull_model("tiny")

    assert info.name == "tiny"
    assert [call.path for call in server.calls] == [DOWNLOAD, "/api/v1/models"]


async def test_fifty_downloads_are_one(make, server):
    """ML-22."""
    server.publish("new")
    provider = await make(clock=FakeClock(auto_advance=True))
    await asyncio.gather(*(provider.pull_model("new") for _ in range(50)))

    assert len(server.calls_to(DOWNLOAD)) == 1


async def test_a_failed_download_is_an_error(make, server):
    """LM Studio gives no reason; the message says where to look."""
    server.publish(LMStudioDownload(LMStudioModelSpec("new"), fails=True))
    provider = await make(clock=FakeClock(auto_advance=True))
    with pytest.raises(ProviderError, match="see its log") as caught:
        await provider.pull_model("new")

    assert (caught.value.code, caught.value.model) == ("pull_failed", "new")


async def test_a_download_that_stands_still_is_given_up(make, server):
    """F148: also while the server says that all is well."""
    server.publish(LMStudioDownload(LMStudioModelSpec("new"), stalls=True))
    clock = FakeClock(auto_advance=True)
    provider = await make(clock=clock, pull_stall_timeout="60s")
    with pytest.raises(ProviderError) as caught:
        await provider.pull_model("new")

    assert (caught.value.type, caught.value.code) == ("timeout", "pull_stalled")
    assert 60 <= clock.elapsed() < 70


async def test_a_lost_question_is_no_failure_of_the_download(make, server):
    """Four in a row are borne, since the download goes on at the server."""
    server.publish("new")
    provider = await make(clock=FakeClock(auto_advance=True))
    server.fail(f"{DOWNLOAD}/status/job_0000000001", 503, {"error": "busy"}, times=4)

    assert (await provider.pull_model("new")).name == "new"


async def test_a_cancelled_pull_goes_on_and_is_joined_by_the_next(make, server):
    """LM Studio cannot stop a download: only the wait ends."""
    server.publish(LMStudioDownload(LMStudioModelSpec("new"), steps=3))
    clock = FakeClock()
    provider = await make(clock=clock)
    caller = asyncio.create_task(provider.pull_model("new"))
    await until(lambda: server.calls_to(DOWNLOAD))
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()

    following = asyncio.create_task(provider.pull_model("new"))
    while not following.done():
        await clock.advance(1)
        await asyncio.sleep(0.005)
    assert following.result().name == "new"
    assert len(server.calls_to(f"{DOWNLOAD}/status/job_0000000001")) == 3


async def test_a_model_that_nobody_publishes_is_named(provider):
    """And nothing is waited for."""
    with pytest.raises(ProviderError, match="nowhere") as caught:
        await provider.pull_model("nowhere")

    assert caught.value.type == "model_not_found"
