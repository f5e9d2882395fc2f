"""Ending a call from outside: by its deadline, or because its configuration goes down."""

import asyncio

import pytest

from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.timers import timers
from core.llm.pipeline.guard import GRACE, Guard
from core.llm.testing import FakeClock

DRAINED = ProviderError("cancelled", "the configuration goes down", code="drained")


def armed(clock: FakeClock, seconds: float) -> Guard:
    """A guard whose deadline is *seconds* away."""
    guard = Guard(timers(clock))
    guard.arm(clock.monotonic() + seconds)
    return guard


async def wait_in(guard: Guard) -> None:
    """Wait for ever under *guard*."""
    with guard:
        await asyncio.Event().wait()


async def test_a_deadline_ends_the_wait_that_is_going_on() -> None:
    """The error says that it was the deadline, and the task is not left cancelled."""
    clock = FakeClock()
    guard = armed(clock, 5.0)
    task = asyncio.create_task(wait_in(guard))
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.1 + GRACE)
    with pytest.raises(ProviderError) as caught:
        await task
    assert (caught.value.type, caught.value.code, caught.value.retryable) == ("timeout", "deadline_exceeded", False)
    assert task.cancelling() == 0
    assert clock.pending == 0


async def test_F86_a_deadline_between_two_waits_fails_the_next_one_and_leaves_the_body_alone() -> None:
    """While the consumer works on an event nothing is cancelled; its next wait fails at once."""
    clock = FakeClock()
    guard = armed(clock, 5.0)

    async def consume() -> str:
        with guard:
            pass
        await clock.sleep(10.0)
        with pytest.raises(ProviderError, match="deadline"), guard:
            raise AssertionError("the wait must not begin")
        return "the body was left alone"

    task = asyncio.create_task(consume())
    await clock.advance(10.0)
    assert await task == "the body was left alone"


async def test_a_disarmed_guard_cuts_nothing() -> None:
    """Once the call has ended its timer is gone."""
    clock = FakeClock()
    guard = armed(clock, 5.0)
    guard.disarm()
    assert clock.pending == 0
    guard.disarm()


async def test_no_timer_is_made_without_a_deadline() -> None:
    """An unlimited call costs no timer."""
    clock = FakeClock()
    Guard(timers(clock)).arm(float("inf"))
    assert clock.pending == 0


async def test_the_first_cut_wins() -> None:
    """A deadline that passes after a drain does not change the reason."""
    clock = FakeClock()
    guard = armed(clock, 5.0)
    guard.cut(DRAINED)
    await clock.advance(5.1)
    with pytest.raises(ProviderError) as caught:
        guard.enter()
    assert caught.value is DRAINED


async def test_a_foreign_cancellation_passes_through() -> None:
    """Whoever cancels the task gets `CancelledError`."""
    task = asyncio.create_task(wait_in(Guard(timers(FakeClock()))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_foreign_cancellation_wins_over_a_cut_in_the_same_moment() -> None:
    """Cancellation is never swallowed, in whichever order the two come."""
    for cut_first in (True, False):
        guard = Guard(timers(FakeClock()))
        task = asyncio.create_task(wait_in(guard))
        await asyncio.sleep(0)
        if cut_first:
            guard.cut(DRAINED)
        task.cancel()
        if not cut_first:
            guard.cut(DRAINED)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_guard_works_inside_a_task_that_is_being_cancelled() -> None:
    """Clean-up code may make a call of its own; its deadline is told apart from the cancellation before."""
    clock = FakeClock()

    async def clean_up() -> LLMError | None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await wait_in(armed(clock, 1.0))
            except ProviderError as error:
                return error
        return None

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    await clock.advance(1.1)
    found = await task
    assert isinstance(found, ProviderError)


async def test_a_cut_leaves_no_cancellation_behind_when_the_wait_ends_otherwise() -> None:
    """A transport that turns the cut into an error of its own must not leave its task half cancelled."""
    guard = Guard(timers(FakeClock()))

    async def call() -> int:
        with pytest.raises(ProviderError, match="of its own"), guard:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ProviderError("timeout", "an error of its own") from None
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    guard.cut(DRAINED)
    assert await task == 0


async def test_an_outer_timeout_of_the_host_still_works() -> None:
    """`asyncio.timeout` around a call sees its own cancellation."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait_in(Guard(timers(FakeClock())))
