"""Room that is made when a load runs out of memory, and models that leave in another way than was planned."""

import asyncio

from core.llm.common.exceptions import ProviderError
from tests.unit.residency.support import FakeHost, House, load_error


async def test_ML13_only_what_is_idle_and_in_the_way_goes_for_a_load_that_did_not_fit():
    """A model in use, a pinned one, and one on another device stay."""
    house = House(options={"devices": {"local/far": "cuda:0"}}, idle=10, used=10, pinned=10, far=10, x=10)
    await house.loaded("idle", "used", "pinned", "far")
    house.keeper.pin(house["pinned"])
    assert house.keeper.lease(house["used"])
    house.host.errors["x"] = [load_error("CUDA error: out of memory")]
    call = house.begin("x")
    await house.after(1.0)
    await house.after(1.1)
    await call
    assert house.ready == {"used", "pinned", "far", "x"}
    assert house.host.unloads == {"idle": 1}


async def test_ML13_the_second_try_begins_when_the_room_is_there():
    """An unload takes its time; a load before its end would fail the same way."""
    house = House()
    await house.loaded("a")
    house.host.unload_seconds = 2.0
    house.host.errors["b"] = [load_error("CUDA error: out of memory")]
    call = house.begin("b")
    await house.after(1.0)
    await house.after(1.5)
    assert house.host.loads["b"] == 1
    await house.after(0.6)
    assert house.host.loads["b"] == 2
    await house.after(1.0)
    await call


async def test_a_load_that_succeeds_makes_up_for_those_that_failed():
    """Nothing is said of them any more, and the next failure is the first one again."""
    house = House()
    house.host.errors["a"] = [load_error(), load_error()]
    for wait in (1.5, 3.0):
        call = house.begin("a")
        await house.after(1.0)
        await asyncio.gather(call, return_exceptions=True)
        await house.after(wait)
    await house.loaded("a")
    assert house["a"].failures.error is None
    await house.keeper.unload(house["a"])
    house.host.errors["a"] = [load_error()]
    call = house.begin("a")
    await house.after(1.0)
    await asyncio.gather(call, return_exceptions=True)
    assert house["a"].failures.not_before - house.clock.monotonic() < 1.5


async def test_a_model_on_a_server_that_cannot_be_reached_counts_as_gone():
    """Whoever unloads it is not told of an error: there is nothing left to unload."""
    house = House()
    await house.loaded("a")
    house.host.unload_errors["a"] = [ProviderError("network_error", "connection refused")]
    await house.keeper.unload(house["a"])
    assert house["a"].phase == "absent"


async def test_calls_that_do_not_end_in_time_are_cut_where_the_host_can_do_that():
    """Its other way to unload would wait for them; where nothing has to end, that one is taken."""

    class CuttingHost(FakeHost):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)
            self.cut: list[str] = []

        async def cut_model(self, model: str) -> None:
            self.cut.append(model)
            self.memory.discard(model)

    house = House()
    house.host = CuttingHost(house.clock, a=10)
    house.configure()
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    unload = asyncio.ensure_future(house.keeper.unload(house["a"], 1.0))
    await house.after(0.9)
    assert house.host.cut == []
    await house.after(0.2)
    await unload
    assert (house.host.cut, house.host.unloads["a"]) == (["a"], 0)
    house.keeper.release(house["a"])
    await house.loaded("a")
    await house.keeper.unload(house["a"])
    assert (house.host.cut, house.host.unloads["a"]) == (["a"], 1)
