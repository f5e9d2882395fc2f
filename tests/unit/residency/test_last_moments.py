"""What happens to a model as the service stops, as it is let go, where it never fits, and where it keeps crashing."""

import asyncio

import pytest

from core.llm.common.exceptions import ModelNotReady, ModelTooLarge
from tests.unit.residency.support import House, load_error


async def test_a_call_that_waits_for_its_model_gets_it_although_the_service_stops():
    """It was admitted before; what nobody waits for is called off."""
    house = House(options={"devices": {"local/b": "cuda:0"}})
    call = house.begin("a")
    house.keeper.want(house["b"])
    await house.after(0.5)
    assert (house["a"].phase, house["b"].phase) == ("loading", "loading")
    house.keeper.begin_stop()
    await house.after(1.0)
    await call
    assert house.ready == {"a"}
    assert house.host.cancelled == {"b": 1}


async def test_a_model_that_is_to_leave_goes_with_its_last_call():
    """It does not wait for the next one to look at the books."""
    house = House()
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    house.keeper.leave(house["a"])
    await house.after(1.0)
    assert house.ready == {"a"}
    house.keeper.release(house["a"])
    await house.after(0.0)
    assert house.host.memory == set()


async def test_a_pinned_model_that_can_never_fit_says_so():
    """There is no call that would be told."""
    house = House(options={"memory_budget": {"cpu": 50}}, big=60)
    house.keeper.pin(house["big"])
    await house.after(1.0)
    assert house["big"].state() == "failed"
    assert isinstance(house["big"].failures.error, ModelTooLarge)
    assert not house.host.loads


async def test_a_call_does_not_wait_long_for_a_model_that_keeps_crashing():
    """It is told when to come back; a short wait it sits out."""
    house = House(options={"patience": "3s"})
    crashes = house["a"].failures
    for _ in range(2):
        crashes.crashed(load_error("it crashed"), house.clock.monotonic())
    call = house.begin("a")
    await house.after(3.0)
    await call
    assert house.host.loads == {"a": 1}
    house.keeper.release(house["a"])
    await house.keeper.unload(house["a"])
    for _ in range(3):
        crashes.crashed(load_error("it crashed"), house.clock.monotonic())
    with pytest.raises(ModelNotReady, match=r"local/a has crashed and is started again in \d\.\d s") as caught:
        await house.keeper.acquire(house["a"])
    assert caught.value.model == "local/a"


async def test_who_leaves_as_a_load_ends_takes_nobody_along():
    """The others get their lease, their error, or the news that it is loaded."""
    house = House()
    calls = [house.begin("a"), house.begin("a")]
    loads = [asyncio.ensure_future(house.keeper.load(house["a"])) for _ in range(2)]
    await house.after(0.5)
    calls[0].cancel()
    loads[0].cancel()
    house["a"].settle("ready")
    house["a"].grant()
    house["a"].announce()
    await calls[1]
    await loads[1]
    assert house["a"].leases == 1

    calls = [house.begin("b"), house.begin("b")]
    loads = [asyncio.ensure_future(house.keeper.load(house["b"])) for _ in range(2)]
    await house.after(0.5)
    calls[0].cancel()
    loads[0].cancel()
    house["b"].fail(load_error("the file is damaged"))
    told = await asyncio.gather(calls[1], loads[1], return_exceptions=True)
    assert [str(error) for error in told] == ["the file is damaged"] * 2
