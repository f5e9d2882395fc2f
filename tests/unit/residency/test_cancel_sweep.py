"""Cancelled at every point where they wait, once and twice: nothing is held afterwards, and the next call is served."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from core.llm.testing.sweep import cancel_sweep
from tests.unit.residency.support import House


def fresh(*, crowded: bool) -> House:
    """A house whose host takes no time of the clock, so that a scenario gets through by itself."""
    house = House(options={"max_loaded": 1} if crowded else {})
    house.host.load_seconds = 0.0
    return house


async def use(house: House) -> None:
    await house.keeper.acquire(house["a"])
    try:
        await asyncio.sleep(0)
    finally:
        house.keeper.release(house["a"])


async def load(house: House) -> None:
    await house.keeper.load(house["a"])


async def load_and_unload(house: House) -> None:
    await house.keeper.load(house["a"])
    await house.keeper.unload(house["a"])


@pytest.mark.parametrize("scenario", [use, load, load_and_unload])
@pytest.mark.parametrize("crowded", [False, True], ids=["room", "crowded"])
async def test_a_cancelled_caller_leaves_the_books_in_order(
    scenario: Callable[[House], Awaitable[None]], crowded: bool
):
    """No lease, no waiter, no task that hangs; and another model can be loaded at once."""
    houses: list[House] = []

    async def prepare() -> None:
        house = fresh(crowded=crowded)
        houses.append(house)
        if crowded:
            await house.use("b")

    async def run() -> None:
        await scenario(houses[-1])

    points = 0
    async for point in cancel_sweep(run, prepare=prepare):
        points += 1
        house = houses[-1]
        await house.after(1.0)
        assert point.error is None, point
        assert all(one.leases == 0 for one in house.keeper.residents), point
        assert all(not (one.waiters or one.watchers) for one in house.keeper.residents), point
        assert all(one.phase in {"absent", "ready"} for one in house.keeper.residents), point
        assert house.host.memory == house.ready, point
        await asyncio.wait_for(house.use("c"), 30)
        await house.keeper.close()
        assert house.clock.pending == 0, point
    assert points >= 2


async def test_the_end_may_be_cancelled_and_called_again():
    """Whoever stops the service twice finds nothing left to do."""
    house = fresh(crowded=False)
    house.host.load_seconds = 10.0
    call = house.begin("a")
    await house.after(1.0)
    await house.keeper.close()
    await house.keeper.close()
    await asyncio.wait([call])
    assert house.host.memory == set()
