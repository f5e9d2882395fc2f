"""Background tasks: restarted or fatal, never silent, never left behind."""

import asyncio
from typing import Literal

import pytest

from core.background import backoff
from core.lifecycle import BackgroundTaskFailed, ContainerState, ContainerStopped, Hook, Lifecycle, TaskFailed
from tests.unit.core.components import hangs, ignores_cancellation

pytestmark = pytest.mark.leakcheck


class Naps:
    """Sleeps in no time and remembers how long it would have been."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


def test_lc_15_backoff_doubles_from_half_a_second_to_thirty() -> None:
    assert [backoff(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 10_000)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_lc_15_failing_task_is_restarted_logged_and_published(logged: list[str]) -> None:
    naps, events, runs = Naps(), [], []

    async def work() -> None:
        runs.append(1)
        if len(runs) < 4:
            raise OSError(f"attempt {len(runs)}")

    lifecycle = Lifecycle(sleep=naps)
    lifecycle.on_event(events.append)
    await lifecycle.start()
    handle = lifecycle.spawn(work, name="poll")
    await handle.wait()
    await lifecycle.stop()

    assert naps.taken == [0.5, 1, 2]
    failures = [(e.task, str(e.error), e.failures, e.restart_in) for e in events if isinstance(e, TaskFailed)]
    assert failures == [("poll", "attempt 1", 1, 0.5), ("poll", "attempt 2", 2, 1), ("poll", "attempt 3", 3, 2)]
    assert len([line for line in logged if line.startswith("ERROR background task 'poll' failed")]) == 3
    assert handle.done


async def test_lc_15_stop_container_ends_everything_and_stop_raises_the_cause() -> None:
    seen: list[str] = []

    async def work() -> None:
        raise OSError("queue is gone")

    lifecycle = Lifecycle()
    lifecycle.append(_noted("A", seen))
    await lifecycle.start()
    lifecycle.spawn(work, name="consumer", on_failure="stop_container")

    await lifecycle.wait_stopped()

    assert lifecycle.state is ContainerState.STOPPED
    assert seen == ["+A", "-A"]
    with pytest.raises(ExceptionGroup) as caught:
        await lifecycle.stop()
    (failure,) = caught.value.exceptions
    assert isinstance(failure, BackgroundTaskFailed)
    assert isinstance(failure.__cause__, OSError)


async def test_lc_15_stop_container_during_the_start_fails_the_start() -> None:
    async def work() -> None:
        raise OSError("queue is gone")

    class Service:
        def __init__(self, lifecycle: Lifecycle) -> None:
            self.lifecycle = lifecycle

        async def start(self) -> None:
            self.lifecycle.spawn(work, name="consumer", on_failure="stop_container")
            await hangs()

    lifecycle = Lifecycle()
    lifecycle.adopt(Service, Service(lifecycle))
    with pytest.raises(ContainerStopped) as caught:
        await lifecycle.start()
    assert isinstance(caught.value.__cause__, BackgroundTaskFailed)


async def test_task_outlives_its_owners_stop_and_no_more() -> None:
    """stop() may wait for the work to be finished; what is left then is cancelled, before the next component stops."""
    seen: list[str] = []

    class Writer:
        def __init__(self, lifecycle: Lifecycle) -> None:
            self.lifecycle = lifecycle
            self.queue: asyncio.Queue[str] = asyncio.Queue()

        async def start(self) -> None:
            self.lifecycle.spawn(self._write, name="writer")

        async def stop(self) -> None:
            self.queue.put_nowait("last line")
            await self.queue.join()

        async def _write(self) -> None:
            try:
                while True:
                    seen.append(await self.queue.get())
                    self.queue.task_done()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

    lifecycle = Lifecycle()
    lifecycle.append(_noted("A", seen))
    lifecycle.adopt(Writer, Writer(lifecycle))
    await lifecycle.start()
    await lifecycle.stop()
    assert seen == ["+A", "last line", "cancelled", "-A"]


async def test_task_spawned_in_a_constructor_begins_and_ends_in_its_place() -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("+task")
        try:
            await hangs()
        finally:
            seen.append("-task")

    lifecycle = Lifecycle()
    lifecycle.append(_noted("A", seen))
    lifecycle.spawn(work, name="work")
    lifecycle.append(_noted("B", seen))
    await lifecycle.start()
    await asyncio.sleep(0)
    await lifecycle.stop()
    assert sorted(seen[:3]) == ["+A", "+B", "+task"]
    assert seen[3:] == ["-B", "-task", "-A"]


@pytest.mark.parametrize("on_failure", ["restart", "stop_container"])
async def test_task_that_fails_while_it_is_stopped_is_reported_and_has_no_consequence(
    logged: list[str], on_failure: Literal["restart", "stop_container"]
) -> None:
    async def work() -> None:
        try:
            await hangs()
        except asyncio.CancelledError:
            raise OSError("on the way out") from None

    lifecycle = Lifecycle()
    await lifecycle.start()
    lifecycle.spawn(work, name="work", on_failure=on_failure)
    await asyncio.sleep(0)
    await asyncio.wait_for(lifecycle.stop(), 20)
    assert [line for line in logged if "on the way out" in line and "not restarted" in line]


async def test_task_that_ignores_its_cancellation_is_named_by_stop() -> None:
    release = asyncio.Event()
    lifecycle = Lifecycle(stop_timeout=0.1)
    await lifecycle.start()
    lifecycle.spawn(ignores_cancellation(release), name="deaf")
    await asyncio.sleep(0)
    with pytest.raises(ExceptionGroup) as caught:
        await lifecycle.stop()
    assert "background task deaf did not stop within 0.1 s" in str(caught.value.exceptions[0])
    release.set()


async def test_inner_cancellation_counts_as_a_failure() -> None:
    """A task whose inner task was cancelled by somebody else would else end without a word."""
    naps, events = Naps(), []

    async def work() -> None:
        if not events:
            inner = asyncio.create_task(hangs())
            inner.cancel()
            await inner

    lifecycle = Lifecycle(sleep=naps)
    await lifecycle.start()
    lifecycle.on_event(events.append)
    await lifecycle.spawn(work, name="work").wait()
    assert [type(event.error) for event in events] == [asyncio.CancelledError]
    await lifecycle.stop()


async def test_spawn_after_stop_is_refused() -> None:
    lifecycle = Lifecycle()
    await lifecycle.start()
    await lifecycle.stop()
    with pytest.raises(ContainerStopped, match="background task 'late' cannot start: the container is stopped"):
        lifecycle.spawn(hangs, name="late")


def _noted(name: str, seen: list[str]) -> Hook:
    async def start() -> None:
        seen.append(f"+{name}")

    async def stop() -> None:
        seen.append(f"-{name}")

    return Hook(name, start, stop)
