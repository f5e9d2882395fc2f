"""Start and stop that come between each other: whoever waits gets the whole of it, and nobody waits for a limit."""

import asyncio
import gc
from typing import Any

import pytest

from core.lifecycle import ContainerState, Hook, LateHook, Lifecycle, WrongState
from tests.unit.core.components import Component, fails, hangs, takes

pytestmark = pytest.mark.leakcheck

HOUR = 3600.0


async def test_lc_09_a_cancelled_start_does_not_wait_for_the_limits_of_its_hooks() -> None:
    """They may be long: a model takes minutes to load."""
    lifecycle = Lifecycle(start_timeout=HOUR)
    lifecycle.append(Hook("B", hangs, start_timeout=HOUR))
    start = asyncio.create_task(lifecycle.start())
    await asyncio.sleep(0.01)
    start.cancel()
    done, _ = await asyncio.wait({start}, timeout=60)
    assert done
    assert start.cancelled()
    assert lifecycle.state is ContainerState.FAILED


async def test_lc_09_a_start_that_is_cancelled_as_it_ends_is_stopped_again() -> None:
    """Its caller never learns that it has started, so nobody else would stop it."""
    seen: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", seen, stop=takes(0.01)))
    start = asyncio.create_task(lifecycle.start())
    while lifecycle.state is not ContainerState.STARTED:
        await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert seen == ["+A", "-A"]
    assert lifecycle.state is ContainerState.STOPPED


async def test_a_stop_during_the_start_returns_when_all_is_down_again() -> None:
    """Whoever stops it may close the event loop next."""
    seen: list[str] = []
    lifecycle = Lifecycle(start_timeout=HOUR)
    lifecycle.adopt("A", Component("A", seen, stop=takes(0.05)))
    lifecycle.append(Hook("B", hangs, start_timeout=HOUR))
    start = asyncio.create_task(lifecycle.start())
    await asyncio.sleep(0.01)
    await lifecycle.stop()
    assert seen == ["+A", "-A"]
    await asyncio.wait({start})
    assert start.exception() is not None


async def test_a_stop_after_a_failed_start_has_nothing_to_add() -> None:
    """What went wrong, in the rollback too, was told by the start."""
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", [], stop=fails(RuntimeError("A stays"))))
    lifecycle.adopt("B", Component("B", [], start=fails(ValueError("B is broken"))))
    with pytest.raises(ValueError, match="B is broken") as caught:
        await lifecycle.start()
    assert "A stays" in "".join(caught.value.__notes__)
    await lifecycle.stop()
    assert lifecycle.state is ContainerState.FAILED


async def test_a_stop_that_nobody_waits_for_is_reported_once() -> None:
    """Its errors are in the log of the container; the event loop need not report them as well."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    lifecycle = Lifecycle()
    lifecycle.adopt("A", Component("A", [], stop=fails(RuntimeError("A stays"))))
    await lifecycle.start()
    lifecycle.request_stop()
    await lifecycle.wait_stopped()
    await asyncio.sleep(0)
    del lifecycle
    gc.collect()
    assert told == []


async def test_what_comes_before_the_start_or_after_the_end_is_refused() -> None:
    """A hook that would never run, and a stop of what does not run."""
    lifecycle = Lifecycle()
    with pytest.raises(WrongState, match="before start"):
        lifecycle.request_stop()
    await lifecycle.stop()
    with pytest.raises(LateHook, match="late"):
        lifecycle.append(Hook("late", hangs))
