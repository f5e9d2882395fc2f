"""One assignment swaps the live runtime; the old one is drained and disposed."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from core.llm.common.events import RuntimeRetired
from core.llm.common.exceptions import ProviderError, ServiceStopping
from core.llm.pipeline.handler import Call
from core.llm.runtime.runtime import Runtime
from core.llm.runtime.swap import MAX_LIVE, RuntimeHolder
from core.llm.testing import EventRecorder
from tests.unit.runtime.support import Watched, World, a_config


class Rig(World):
    """A holder over watched providers."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = RuntimeHolder(self.events)
        self.seen = EventRecorder(self.events, RuntimeRetired)

    async def publish(self, drain_timeout: float = 60.0, **providers: object) -> Runtime:
        """Build a configuration and swap it in."""
        runtime = await self.build(a_config(**providers), self.holder.previous)
        self.holder.swap(runtime, drain_timeout)
        return runtime

    def running(self) -> tuple[Runtime, Call]:
        """A call that has been admitted and goes on."""
        runtime = self.holder.admit()
        return runtime, self.call(runtime)

    def retired(self) -> list[tuple[int, bool]]:
        return [(event.generation, event.forced) for event in self.seen.of(RuntimeRetired)]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A rig that is open, and whose runtimes are all gone afterwards."""
    rig = Rig()
    rig.holder.open()
    yield rig
    await asyncio.wait_for(rig.holder.retire_all(0.0), 30.0)
    assert rig.holder.live == ()


async def test_HR05_a_call_keeps_the_runtime_it_was_admitted_to(rig: Rig) -> None:
    """The next call gets the new one; the old provider is open until the first call has ended."""
    old = await rig.publish(a={})
    runtime, call = rig.running()
    new = await rig.publish(a={"answers": "new"})
    assert runtime is old
    assert rig.holder.current is new
    await asyncio.sleep(0.01)
    assert "a closed" not in Watched.log
    rig.holder.leave(runtime, call)
    assert await rig.seen.wait_for(RuntimeRetired) == RuntimeRetired(1, forced=False)
    assert Watched.log[-1] == "a closed"


async def test_HR08_an_idle_runtime_is_disposed_at_once(rig: Rig) -> None:
    """One generation is live again right after the swap."""
    await rig.publish(a={})
    begun = time.monotonic()
    await rig.publish(a={"answers": "new"})
    await rig.seen.wait_for(RuntimeRetired)
    assert time.monotonic() - begun < 20.0  # and not after the drain time
    assert [runtime.generation for runtime in rig.holder.live] == [2]


async def test_HR09_a_provider_shared_by_generations_is_closed_once_with_the_last_of_them(rig: Rig) -> None:
    """Whichever generation ends first."""
    first = await rig.publish(kept={}, changed={})
    one = rig.running()
    await rig.publish(kept={}, changed={"answers": "2"})
    two = rig.running()
    await rig.publish(kept={}, changed={"answers": "3"})
    rig.holder.leave(*two)
    await rig.seen.wait_for(RuntimeRetired)
    rig.holder.leave(*one)
    await rig.seen.wait_for(RuntimeRetired, nth=2)
    assert "kept closed" not in Watched.log
    await rig.holder.retire_all(1.0)
    assert Watched.log.count("kept closed") == 1
    assert first.providers["kept"].closed == 1  # type: ignore[attr-defined]  # a scripted provider


async def test_providers_are_closed_in_reverse_and_one_that_raises_keeps_none_open(rig: Rig, logged: list[str]) -> None:
    """The error is logged by its type."""
    await rig.publish(a={}, b={"fails": "close"}, c={})
    Watched.log.clear()
    await rig.holder.retire_all(1.0)
    assert Watched.log == ["c closed", "b closed", "a closed"]
    assert any("provider b raised ValueError while closing" in line for line in logged)
    assert not any("secret text" in line for line in logged)


async def test_HR07_calls_that_outlive_the_drain_time_are_cut_within_a_second(rig: Rig) -> None:
    """The call fails with an error that names its generation and may be repeated only before the first token."""
    await rig.publish(a={})
    runtime, call = rig.running()

    async def waiting() -> None:
        try:
            with call.guard:
                await asyncio.Event().wait()
        finally:
            rig.holder.leave(runtime, call)

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    begun = time.monotonic()
    await rig.publish(0.05, a={"answers": "new"})
    with pytest.raises(ProviderError) as caught:
        await task
    assert time.monotonic() - begun < 20.0
    assert (caught.value.type, caught.value.code, caught.value.retryable) == ("cancelled", "drained", True)
    assert "generation 1" in caught.value.message
    assert await rig.seen.wait_for(RuntimeRetired) == RuntimeRetired(1, forced=True)


async def test_HR07_a_consumer_that_never_comes_back_does_not_keep_the_old_providers_open(
    rig: Rig, logged: list[str]
) -> None:
    """A second after the cut they are closed, and the log says how many calls were left."""
    await rig.publish(a={})
    rig.running()
    await rig.publish(0.01, a={"answers": "new"})
    await rig.seen.wait_for(RuntimeRetired)
    assert "a closed" in Watched.log
    assert any("1 calls of generation 1 did not end when cut" in line for line in logged)


async def test_HR08_a_fifth_generation_forces_the_oldest_to_end_now(rig: Rig) -> None:
    """Even one whose consumer is away: at most four are live after the grace."""
    for number in range(MAX_LIVE + 1):
        await rig.publish(300.0, a={"answers": str(number)})
        if number < MAX_LIVE:
            rig.running()
    retired = await rig.seen.wait_for(RuntimeRetired)
    assert retired.generation == 1
    assert [runtime.generation for runtime in rig.holder.live] == [5, 2, 3, 4]


async def test_HR08_a_generation_without_calls_costs_no_older_one_its_calls(rig: Rig) -> None:
    """It goes at once; three that are in use and the new one are four, and nobody waits for room."""
    for number in range(MAX_LIVE - 1):
        await rig.publish(300.0, a={"answers": str(number)})
        rig.running()
    await rig.publish(300.0, a={"answers": "idle"})
    begun = time.monotonic()
    await rig.holder.make_room()
    assert time.monotonic() - begun < 20.0
    await rig.publish(300.0, a={"answers": "new"})
    assert await rig.seen.wait_for(RuntimeRetired) == RuntimeRetired(4, forced=False)
    assert [runtime.generation for runtime in rig.holder.live] == [5, 1, 2, 3]
    assert not any(call.guard.verdict() for runtime in rig.holder.live for call in runtime.calls)


async def test_LC_stopping_waits_for_calls_as_long_as_allowed_and_not_longer(rig: Rig) -> None:
    """A call on an older generation, which may run for minutes after a reload, does not hold up the stop."""
    await rig.publish(a={})
    rig.running()
    await rig.publish(300.0, a={"answers": "new"})
    rig.running()
    begun = time.monotonic()
    await rig.holder.retire_all(0.05)
    assert time.monotonic() - begun < 10.0
    assert rig.holder.live == ()


async def test_F129_admission_says_why_it_is_closed() -> None:
    """Before the start, while stopping, and after it."""
    rig = Rig()
    with pytest.raises(ServiceStopping, match="has not been started"):
        rig.holder.admit()
    with pytest.raises(ServiceStopping):
        rig.holder.current  # noqa: B018 - the property raises
    await rig.publish(a={})
    with pytest.raises(ServiceStopping, match="has not been started"):
        rig.holder.admit()
    rig.holder.open()
    rig.holder.leave(rig.holder.admit())
    rig.holder.close_admission("the service is stopping")
    with pytest.raises(ServiceStopping, match="is stopping"):
        rig.holder.admit()
    await rig.holder.retire_all(1.0)
    with pytest.raises(ServiceStopping, match="is stopping"):
        rig.holder.admit()
