"""The fake clock: time moves when the test says so, and everything due runs at its own moment."""

import asyncio
from datetime import timedelta

import pytest

from core.llm.common.clock import Clock
from core.llm.testing import FakeClock


def test_it_is_a_clock():
    """It can be passed wherever a Clock is expected."""
    clock: Clock = FakeClock()

    assert clock.monotonic() == clock.monotonic()


async def test_time_stands_still_until_it_is_moved():
    """Neither waiting nor yielding moves the time."""
    clock = FakeClock(start=50.0)
    wall = clock.now()

    await asyncio.sleep(0.002)

    assert (50.0, wall) == (clock.monotonic(), clock.now())


async def test_wall_time_moves_with_the_monotonic_time():
    """A calendar rule and a timeout see the same hour pass."""
    clock = FakeClock()
    before = clock.now()

    await clock.advance(3600)

    assert timedelta(hours=1) == clock.now() - before
    assert clock.elapsed() == 3600


async def test_a_sleeper_wakes_exactly_when_its_time_has_come():
    """Not a moment earlier, and without real waiting."""
    clock = FakeClock()
    sleeper = asyncio.create_task(clock.sleep(10))

    await clock.advance(9.999)
    assert not sleeper.done()
    assert clock.sleeping == 1

    await clock.advance(0.001)
    assert sleeper.done()
    assert clock.sleeping == 0


async def test_sleepers_and_timers_run_in_the_order_of_their_moments():
    """Each sees the time it asked for, whatever order they were made in, within one advance."""
    clock = FakeClock(start=0.0)
    seen: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        seen.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleep("late", 3))
        tasks.create_task(sleep("early", 1))
        clock.call_at(2, lambda: seen.append(("timer", clock.monotonic())))
        await clock.advance(10)

    assert seen == [("early", 1.0), ("timer", 2.0), ("late", 3.0)]
    assert clock.monotonic() == 10.0


async def test_a_loop_that_sleeps_again_and_again_runs_as_often_as_it_would():
    """A task that goes back to sleep is woken again within the same advance."""
    clock = FakeClock()
    rounds = 0

    async def poll() -> None:
        nonlocal rounds
        while True:
            await clock.sleep(30)
            rounds += 1

    task = asyncio.create_task(poll())
    await clock.advance(300)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert rounds == 10
    assert clock.pending == 0


async def test_a_cancelled_timer_does_not_run():
    """What was called off stays off."""
    clock = FakeClock(start=0.0)
    ran: list[int] = []
    timer = clock.call_at(1, lambda: ran.append(1))

    timer.cancel()
    await clock.advance(2)

    assert ran == []
    assert clock.next_at() is None


async def test_a_cancelled_sleeper_leaves_nothing_behind():
    """`pending` shows whether a component cleans up after itself."""
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5))
    await clock.settle()

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert clock.pending == 0


async def test_time_never_goes_back():
    """A slip in a test is an error, not a negative duration."""
    with pytest.raises(ValueError, match="forward"):
        await FakeClock().advance(-1)


async def test_auto_advance_jumps_to_each_sleeper_in_turn():
    """Two tasks that sleep side by side take as long as the longer one, and no real time."""
    clock = FakeClock(start=0.0, auto_advance=True)
    order: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        order.append(name)

    await asyncio.wait_for(asyncio.gather(sleep("long", 500), sleep("short", 3)), 30)

    assert order == ["short", "long"]
    assert clock.monotonic() == 500.0
    assert clock.sleeps == [500, 3]


async def test_auto_advance_never_fires_a_timeout_while_nobody_sleeps():
    """A deadline of ten minutes does not strike because a test waits for a socket."""
    clock = FakeClock(start=0.0, auto_advance=True)
    struck: list[float] = []
    clock.call_at(600, lambda: struck.append(clock.monotonic()))

    await asyncio.sleep(0.002)
    await clock.sleep(10)

    assert struck == []
    assert clock.monotonic() == 10.0


async def test_a_sleep_of_nothing_returns_at_once():
    """`sleep(0)` yields to other tasks and needs no advance."""
    clock = FakeClock()

    await asyncio.wait_for(clock.sleep(0), 30)

    assert clock.elapsed() == 0
