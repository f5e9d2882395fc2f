"""Cancellation reaches the caller at once and never cuts a teardown short."""

import asyncio

import anyio
import pytest

from core.lifecycle import ContainerState, Hook, HookCancelled, Lifecycle
from tests.unit.core.components import Component, hangs, takes

pytestmark = pytest.mark.leakcheck


async def test_lc_09_cancelled_start_stops_what_had_started_first() -> None:
    """A is down again, and B's start has been cancelled, before CancelledError reaches the caller."""
    seen: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen, stop=takes(0.05)))
    lifecycle.adopt("B", Component("B", seen, start=hangs))
    start = asyncio.create_task(lifecycle.start())
    await asyncio.sleep(0.02)

    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start

    assert seen == ["+A", "-A"]
    assert lifecycle.state is ContainerState.FAILED


async def test_lc_09_further_cancellations_do_not_cut_the_rollback_short() -> None:
    """Nor the cleaning up of the start that was under way; however impatient the caller is."""
    seen: list[str] = []

    async def cleans_up() -> None:
        try:
            await hangs()
        finally:
            await asyncio.sleep(0.1)
            seen.append("B cleaned up")

    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen))
    lifecycle.adopt("B", Component("B", seen, start=cleans_up))
    start = asyncio.create_task(lifecycle.start())
    for _ in range(3):
        await asyncio.sleep(0.02)
        start.cancel()
    stop = asyncio.create_task(lifecycle.stop())

    with pytest.raises(asyncio.CancelledError):
        await start
    await stop
    assert seen == ["+A", "B cleaned up", "-A"]


async def test_lc_09_a_timeout_around_start_works() -> None:
    seen: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen))
    lifecycle.adopt("B", Component("B", seen, start=hangs))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await lifecycle.start()
    assert seen == ["+A", "-A"]


async def test_lc_10_cancelled_stop_goes_on_and_a_later_stop_waits_for_it() -> None:
    seen: list[str] = []
    lifecycle = Lifecycle()
    release = asyncio.Event()
    lifecycle.adopt("A", Component("A", seen, stop=release.wait))
    await lifecycle.start()
    stop = asyncio.create_task(lifecycle.stop())
    await asyncio.sleep(0.02)

    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stop
    assert seen == ["+A"]
    assert lifecycle.state is ContainerState.STOPPING

    release.set()
    await lifecycle.stop()
    assert seen == ["+A", "-A"]
    assert lifecycle.state is ContainerState.STOPPED


async def test_lc_11_task_group_held_from_start_to_stop() -> None:
    """Asyncio's and anyio's scopes must be left in the task that entered them; a component may hold both."""
    beats: list[str] = []

    class Service:
        async def start(self) -> None:
            self.deadline = asyncio.timeout(60)
            await self.deadline.__aenter__()
            self.group = asyncio.TaskGroup()
            await self.group.__aenter__()
            self.worker = self.group.create_task(hangs())
            self.scope = anyio.create_task_group()
            await self.scope.__aenter__()
            self.scope.start_soon(hangs)

        async def stop(self) -> None:
            self.scope.cancel_scope.cancel()
            await self.scope.__aexit__(None, None, None)
            self.worker.cancel()
            await self.group.__aexit__(None, None, None)
            await self.deadline.__aexit__(None, None, None)
            beats.append("closed")

    lifecycle = Lifecycle()
    lifecycle.adopt(Service, Service())
    await asyncio.create_task(lifecycle.start())
    await asyncio.create_task(lifecycle.stop())
    assert beats == ["closed"]


async def test_hook_that_ends_itself_with_cancelled_error_is_a_failure_not_a_cancellation() -> None:
    """Otherwise start() would look cancelled although nobody cancelled it."""

    async def start() -> None:
        inner = asyncio.create_task(hangs())
        inner.cancel()
        await inner

    lifecycle = Lifecycle()
    lifecycle.append(Hook("A", start))
    with pytest.raises(HookCancelled, match=r"A: start\(\) ended with CancelledError"):
        await lifecycle.start()


async def test_component_is_stopped_even_if_its_task_was_cancelled_from_outside() -> None:
    """A host that cancels every task of the loop before it stops the container still gets a clean stop."""
    seen: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen))
    await lifecycle.start()
    for task in asyncio.all_tasks():
        if task.get_name().startswith("lifecycle:"):
            task.cancel()
    await asyncio.sleep(0)

    await lifecycle.stop()
    assert seen == ["+A", "-A"]


async def test_stop_called_by_a_component_while_it_starts_does_not_deadlock() -> None:
    lifecycle = Lifecycle()

    async def start() -> None:
        await lifecycle.stop()

    lifecycle.append(Hook("A", start))
    with pytest.raises(Exception, match="while the container was starting"):
        await lifecycle.start()
    await lifecycle.stop()
