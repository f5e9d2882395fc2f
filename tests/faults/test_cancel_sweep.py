"""A call through the whole service, cancelled at every point at which it waits, leaves nothing behind."""

import asyncio

import pytest

from core.llm.testing.wire_steps import Stall, answer, script
from tests.cancelling import CancelAt, outcome_of
from tests.faults.rig import SOON, TEXT


async def generated(rig) -> str:
    return (await rig.llm.generate("hi", model="only")).content


async def streamed(rig) -> str:
    async with rig.llm.stream("hi", model="only") as events:
        return "".join([event.text async for event in events])


async def iterated(rig) -> str:
    """The plain iterator, closed as its documentation asks."""
    events = rig.llm.stream_generate("hi", model="only")
    try:
        return "".join([event.text async for event in events])
    finally:
        await events.aclose()


async def settled(rig) -> None:
    """Wait until the upstream has no request of a call that was cancelled."""
    await asyncio.sleep(0.03)
    async with asyncio.timeout(SOON):
        while any(not request.done and not request.connection.ended.is_set() for request in rig.server.requests):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("again", [None, 1, 2], ids=["once", "twice", "twice-later"])
@pytest.mark.parametrize("call", [generated, streamed, iterated])
async def test_cancelled_at_every_point(make_rig, dialect, call, again):
    """It ends as cancelled; the pool, the lease on the configuration and the breaker are as before."""
    rig = await make_rig(dialect, provider={"max_connections": 1})
    # One failure before the answer brings the back-off into the sweep.
    retried = answer(dialect.error("try again"), 503)
    good = dialect.answer() if call is generated else dialect.stream(gap=0.002)
    for nth in range(100):
        rig.server.will(retried, good)
        sweep = CancelAt(call(rig), nth, again)
        outcome = await outcome_of(sweep)
        if not sweep.hit:
            assert outcome == TEXT
            break
        # A second cancellation may come after the call has ended.
        assert isinstance(outcome, asyncio.CancelledError), outcome
        await settled(rig)
        rig.server.forget()
        # Two of them: a provider that fails every other time is left alone, and rightly so.
        rig.server.will(good, good)
        for _ in range(2):
            assert await asyncio.wait_for(call(rig), SOON) == TEXT, "the next call works"
        assert rig.llm.get_provider_status()["faulty"].state == "ready"
    else:
        pytest.fail("the call never came to its end")
    assert nth >= 3


@pytest.mark.parametrize("call", [generated, streamed])
async def test_cancellations_do_not_open_the_breaker(rig, call):
    """A caller in a hurry says nothing about the provider."""
    rig.server.otherwise(script(Stall()))
    for number in range(10):
        task = asyncio.create_task(call(rig))
        await rig.server.wait_for_requests(number + 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    rig.server.will(rig.dialect.answer() if call is generated else rig.dialect.stream())
    assert await call(rig) == TEXT
