"""Many callers, one piece of work."""

import asyncio

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.provider import Progress
from core.llm.providers.base.single_flight import SingleFlight, within
from core.llm.providers.base.throttle import Throttle
from core.llm.testing import FakeClock


class Work:
    """Counts its starts, waits for its gate, and knows whether it was cancelled."""

    def __init__(self, error=None):
        self.starts = 0
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.error = error

    async def __call__(self, tell):
        self.starts += 1
        tell(Progress("begun"))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return self.starts


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_fifty_callers_start_the_work_once():
    """F142: and all of them get its result."""
    flight, work = SingleFlight(), Work()
    callers = [asyncio.create_task(flight.join("k", work)) for _ in range(50)]
    await settle()
    work.gate.set()

    assert await asyncio.gather(*callers) == [1] * 50
    assert "k" not in flight


async def test_everyone_gets_an_error_of_their_own():
    """Shared tracebacks grow with every waiter."""
    flight, work = (
        SingleFlight(),
        Work(ProviderError("server_error", "no memory", code="out_of_memory", retryable=False)),
    )
    callers = [asyncio.create_task(flight.join("k", work)) for _ in range(3)]
    await settle()
    work.gate.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)

    assert [(error.message, error.code, error.retryable) for error in errors] == [
        ("no memory", "out_of_memory", False)
    ] * 3
    assert len({id(error) for error in errors}) == 3


async def test_one_caller_who_leaves_changes_nothing_for_the_others():
    flight, work = SingleFlight(), Work()
    leaver, stayer = (asyncio.create_task(flight.join("k", work)) for _ in range(2))
    await settle()
    leaver.cancel()
    await settle()
    work.gate.set()

    assert await stayer == 1
    assert leaver.cancelled()


async def test_the_last_caller_who_leaves_stops_the_work():
    """ML-10, ML-22: and whoever comes right then starts it afresh."""
    flight, work = SingleFlight(), Work()
    leaver = asyncio.create_task(flight.join("k", work))
    await settle()
    leaver.cancel()
    await asyncio.wait([leaver])
    work.gate.set()

    assert await flight.join("k", work) == 2
    assert work.cancelled == 1


async def test_work_that_is_to_be_kept_outlives_its_callers():
    """ML-20: a cancelled request does not abort a load."""
    flight, work = SingleFlight(), Work()
    leaver = asyncio.create_task(flight.join("k", work, keep=True))
    await settle()
    leaver.cancel()
    await asyncio.wait([leaver])

    assert "k" in flight
    work.gate.set()
    assert await flight.join("k", work) == 1


async def test_stopping_ends_the_work_and_tells_the_callers():
    flight, work = SingleFlight(), Work()
    caller = asyncio.create_task(flight.join("k", work, keep=True))
    await settle()
    await flight.stop()

    with pytest.raises(ProviderError) as caught:
        await caller
    assert caught.value.type == "cancelled"
    assert work.cancelled == 1


async def test_a_caller_who_joins_late_hears_where_things_stand():
    flight, work, heard = SingleFlight(), Work(), []
    first = asyncio.create_task(flight.join("k", work))
    await settle()
    second = asyncio.create_task(flight.join("k", work, heard.append))
    await settle()
    work.gate.set()
    await asyncio.gather(first, second)

    assert heard == [Progress("begun")]


async def test_a_limit_is_kept_by_the_given_clock():
    """No sleeping in tests, no wall clock in logic."""
    clock = FakeClock()
    gate = asyncio.Event()
    task = asyncio.create_task(within(gate.wait(), 10, clock, lambda: ProviderError("timeout", "too late")))
    await settle()
    await clock.advance(9.9)
    assert not task.done()
    await clock.advance(0.2)

    with pytest.raises(ProviderError, match="too late"):
        await task


async def test_cancelling_a_limited_wait_cancels_what_it_waits_for():
    work = Work()
    task = asyncio.create_task(within(work(lambda _: None), 10, FakeClock(), lambda: ProviderError("timeout", "")))
    await settle()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert work.cancelled == 1


async def test_progress_is_told_ten_times_a_second_at_most():
    clock = FakeClock()
    throttle = Throttle(clock)
    told = 0
    for _ in range(1000):
        told += throttle.due()
        await clock.advance(0.002)

    assert told == 20
