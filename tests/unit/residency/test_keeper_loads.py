"""Loads: one for all who wait, in parallel where they fit, remembered when they fail, bounded in time."""

import asyncio

import pytest

from core.llm.common.exceptions import (
    ModelLoadError,
    ModelNotReady,
    ModelQueueFull,
    ModelTooLarge,
    NoCapacity,
    ServiceStopping,
)
from core.llm.providers.base.provider import Progress
from tests.unit.residency.support import House, load_error


async def test_ML01_fifty_callers_of_a_cold_model_cause_one_load_F142():
    """All of them get it."""
    house = House()
    calls = [house.begin("a") for _ in range(50)]
    await house.after(1.0)
    await asyncio.gather(*calls)
    assert house.host.loads == {"a": 1}
    assert house["a"].leases == 50


async def test_ML01_a_load_that_fails_fails_for_all_who_wait_with_the_same_type():
    """Each gets an error of its own, for errors are written on."""
    house = House()
    house.host.errors["a"] = [load_error("the file is damaged")]
    calls = [house.begin("a") for _ in range(5)]
    await house.after(1.0)
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in errors} == {ModelLoadError}
    assert {str(error) for error in errors} == {"the file is damaged"}
    assert len({id(error) for error in errors}) == 5
    assert house["a"].leases == 0


async def test_ML02_models_on_different_devices_load_at_the_same_time():
    """One load per device is the default, so the second one on the same device waits its turn."""
    house = House(options={"devices": {"local/b": "cuda:0"}})
    calls = [house.begin(model) for model in ("a", "b", "c")]
    await house.after(0.5)
    assert (house["a"].phase, house["b"].phase, house["c"].phase) == ("loading", "loading", "absent")
    await house.after(2.0)
    await asyncio.gather(*calls)


async def test_ML02_a_loaded_model_is_not_delayed_by_the_load_of_another():
    """Its lease is granted without a turn of the event loop."""
    house = House()
    await house.loaded("a")
    waiting = house.begin("b")
    await house.after(0.5)
    assert house.keeper.lease(house["a"])
    house.keeper.release(house["a"])
    await house.after(0.5)
    await waiting


async def test_ML07_a_model_larger_than_the_whole_budget_fails_at_once_and_evicts_nothing():
    """Both numbers are said."""
    house = House(options={"memory_budget": {"cpu": 50}}, a=10, big=60)
    await house.loaded("a")
    with pytest.raises(ModelTooLarge, match=r"60 bytes.* 50") as caught:
        await house.keeper.acquire(house["big"])
    assert (caught.value.need, caught.value.budget) == (60, 50)
    assert house.ready == {"a"}


async def test_ML07_a_load_by_hand_of_a_model_that_never_fits_fails_at_once_too():
    """It is refused before anything has begun, and whoever asked for it hears so."""
    house = House(options={"memory_budget": {"cpu": 50}}, big=60)
    with pytest.raises(ModelTooLarge, match=r"60 bytes.* 50"):
        await asyncio.wait_for(house.keeper.load(house["big"]), 30)


async def test_ML07_a_load_by_hand_of_such_a_model_fails_at_once_too():
    """It does not wait for room that can never be."""
    house = House(options={"memory_budget": {"cpu": 50}}, big=60)
    with pytest.raises(ModelTooLarge):
        await asyncio.wait_for(house.keeper.load(house["big"]), 30)
    assert house["big"].watchers == set()


async def test_ML10_one_waiter_that_is_cancelled_changes_nothing_for_the_others():
    """The load goes on."""
    house = House()
    first, second = house.begin("a"), house.begin("a")
    await house.after(0.5)
    first.cancel()
    await house.after(0.5)
    await second
    assert first.cancelled()
    assert house.host.loads == {"a": 1}
    assert house["a"].leases == 1


async def test_ML10_the_last_waiter_that_leaves_calls_the_load_off():
    """And the next call finds everything in order."""
    house = House()
    call = house.begin("a")
    await house.after(0.5)
    call.cancel()
    await house.after(0.0)
    assert house.host.cancelled == {"a": 1}
    assert house.host.memory == set()
    assert house["a"].phase == "absent"
    await house.loaded("a")
    assert house.ready == {"a"}


async def test_ML10_a_call_whose_time_is_up_leaves_the_load_to_those_who_come_later():
    """Otherwise a model that loads for longer than one call may take would never be ready."""
    house = House()
    call = house.begin("a", until=house.clock.monotonic() + 0.5)
    await house.after(0.5)
    call.cancel()
    await house.after(0.6)
    assert house.ready == {"a"}
    assert house.host.cancelled == {}


async def test_ML10_a_joiner_of_a_load_that_is_called_off_gets_a_load_of_its_own():
    """It sees no error of somebody else's cancellation."""
    house = House()
    first = house.begin("a")
    await house.after(0.5)
    first.cancel()
    await asyncio.sleep(0)
    second = house.begin("a")
    await house.after(2.0)
    await second
    assert house["a"].leases == 1


async def test_ML10_a_preload_is_not_called_off_by_a_call_that_leaves():
    """It was wanted before."""
    house = House()
    house.keeper.want(house["a"])
    call = house.begin("a")
    await house.after(0.5)
    call.cancel()
    await house.after(0.6)
    assert house.ready == {"a"}


async def test_ML10_a_lease_that_was_granted_as_its_caller_left_is_given_back():
    """Nothing is held for nobody: the model could never leave memory again."""
    house = House()
    call = house.begin("a")
    await house.after(0.5)
    (granted,) = house["a"].waiters
    house["a"].settle("ready")
    house["a"].grant()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert granted.done()
    assert not granted.cancelled()
    assert house["a"].leases == 0


async def test_ML11_a_failed_load_is_remembered_for_a_while():
    """Thirty calls within the back-off cause no further load; each may go to its next candidate at once."""
    house = House()
    house.host.errors["a"] = [load_error(), load_error()]
    for failures, back_off in enumerate((1.0, 2.0), start=1):
        call = house.begin("a")
        await house.after(1.0)
        with pytest.raises(ModelLoadError):
            await call
        for _ in range(30):
            with pytest.raises(ModelLoadError, match="no such file"):
                await house.keeper.acquire(house["a"])
        assert house.host.loads["a"] == failures
        await house.after(back_off * 1.2)
    await house.loaded("a")
    assert house.host.loads["a"] == 3
    assert house.ready == {"a"}


async def test_ML11_a_load_by_hand_tries_at_once():
    """However long the back-off has become; success forgets the failures."""
    house = House()
    house.host.errors["a"] = [load_error()]
    call = house.begin("a")
    await house.after(1.0)
    with pytest.raises(ModelLoadError):
        await call
    load = asyncio.ensure_future(house.keeper.load(house["a"]))
    await house.after(1.0)
    await load
    assert house["a"].failures.error is None
    assert house.ready == {"a"}


async def test_ML12_a_load_that_stops_making_progress_is_stopped_F141():
    """What it had begun is taken down."""
    house = House(options={"stall_timeout": "300s"})
    house.host.steps, house.host.load_seconds = [Progress("reading", 1.0, 9.0)], 10_000.0
    call = house.begin("a")
    await house.after(299.0)
    assert not call.done()
    await house.after(2.0)
    with pytest.raises(ModelLoadError, match="no progress for 300 s"):
        await call
    assert house.host.cancelled == {"a": 1}
    assert house.host.memory == set()


async def test_ML12_a_load_that_takes_too_long_is_stopped_F141():
    """The message says which setting to raise."""
    house = House(options={"load_timeout": "20s"})
    house.host.load_seconds = 100.0
    call = house.begin("a")
    await house.after(20.0)
    with pytest.raises(ModelLoadError, match=r"within 20 s; raise residency\.load_timeout"):
        await call
    assert house.host.cancelled == {"a": 1}


async def test_ML13_out_of_memory_lets_everything_idle_go_and_tries_once_more():
    """The books were wrong about what fits."""
    house = House()
    await house.loaded("a", "b")
    house.host.errors["c"] = [load_error("CUDA error: out of memory")]
    house.host.unload_seconds = 0.3
    call = house.begin("c")
    await house.after(4.0)
    await call
    assert house.ready == {"c"}
    assert house.host.loads["c"] == 2


async def test_ML13_out_of_memory_twice_is_a_failure_F138():
    """It is not tried for ever."""
    house = House()
    await house.loaded("a")
    house.host.errors["c"] = [load_error("failed to allocate 5 GiB"), load_error("failed to allocate 5 GiB")]
    call = house.begin("c")
    await house.after(4.0)
    with pytest.raises(ModelLoadError, match="failed to allocate"):
        await call
    assert house.host.loads["c"] == 2
    assert house.host.memory == set()


async def test_ML16_progress_is_told_ten_times_a_second_at_most():
    """A load that counts a thousand steps in a moment is one event, and everyone who asked for it hears all of them."""
    house = House()
    house.host.steps = [Progress("reading", float(number), 1000.0) for number in range(1000)]
    heard: list[Progress] = []
    load = asyncio.ensure_future(house.keeper.load(house["a"], heard.append))
    await house.after(1.0)
    await load
    steps = [event for event in house.told if event.kind == "load" and event.completed is not None]
    assert len(steps) == 1
    assert len(heard) == 1000


async def test_ML17_the_queue_of_a_model_is_bounded():
    """One more is refused at once, so that it can go elsewhere."""
    house = House(options={"max_waiting": 3})
    calls = [house.begin("a") for _ in range(3)]
    await house.after(0.1)
    with pytest.raises(ModelQueueFull, match="3 calls wait"):
        await house.keeper.acquire(house["a"])
    await house.after(1.0)
    await asyncio.gather(*calls)


async def test_ML18_after_the_end_nobody_waits_and_nothing_loads():
    """Those who waited are told."""
    house = House()
    call = house.begin("a")
    await house.after(0.5)
    await house.keeper.close()
    with pytest.raises(ServiceStopping):
        await call
    with pytest.raises(ServiceStopping):
        await house.keeper.acquire(house["b"])
    assert house.host.cancelled == {"a": 1}
    assert house.clock.pending == 0


async def test_a_caller_who_does_not_wait_for_room_is_told_who_holds_it_ML06():
    """NoCapacity names the models in memory and how many calls they have."""
    house = House(options={"max_loaded": 1, "patience": "1000s"})
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    call = house.begin("b", wait=0.2)
    await house.after(0.2)
    with pytest.raises(NoCapacity, match=r"within 0\.2 s.*local/a \(1 calls\)"):
        await call
    assert not issubclass(NoCapacity, ModelNotReady)


async def test_ML18_a_load_by_hand_ends_with_the_service_and_does_not_begin_anew():
    """What waits for no call is not loaded a second time while everything ends."""
    house = House()
    load = asyncio.ensure_future(house.keeper.load(house["a"]))
    await house.after(0.5)
    house.keeper.begin_stop()
    await house.after(0.5)
    with pytest.raises(ServiceStopping):
        await load
    assert (house.host.loads, house.host.cancelled) == ({"a": 1}, {"a": 1})


@pytest.mark.parametrize("meanwhile", ["unload", "leave"])
async def test_a_load_by_hand_that_waits_for_room_is_not_forgotten(meanwhile):
    """Whatever else becomes of the model before its turn, whoever asked for it hears of the end."""
    house = House(options={"max_loaded": 1, "patience": "1000s"})
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    wanted = house["b"]
    load = asyncio.ensure_future(house.keeper.load(wanted))
    await house.after(1.0)
    if meanwhile == "unload":
        await house.keeper.unload(wanted)
    else:
        house.keeper.leave(wanted)
    await house.after(1.0)
    assert not load.done()
    house.keeper.release(house["a"])
    await house.after(2.0)
    assert load.done()
    await load
    assert (house.ready, house.host.loads["b"]) == ({"b"}, 1)


@pytest.mark.parametrize("moment", ["waiting", "loading"])
async def test_a_load_by_hand_of_a_model_that_is_edited_meanwhile_says_so(moment):
    """It is not loaded in the old way again and again; the new way is loaded instead, since somebody wanted it."""
    house = House(options={"max_loaded": 1, "patience": "1000s"})
    if moment == "waiting":
        await house.loaded("a")
        assert house.keeper.lease(house["a"])
    load = asyncio.ensure_future(house.keeper.load(house["b"]))
    await house.after(0.5)
    house.host.options["b"] = "another way of loading"
    house.configure(max_loaded=1, patience="1000s")
    if moment == "waiting":
        house.keeper.release(house["a"])
    await house.after(5.0)
    assert load.done()
    with pytest.raises(ModelNotReady, match="edited"):
        await load
    assert (house.ready, house.host.loads["b"]) == ({"b"}, 1 if moment == "waiting" else 2)


async def test_ML18_a_load_by_hand_that_waits_for_room_ends_with_the_service():
    """At its beginning: nothing is going to make room for it."""
    house = House(options={"max_loaded": 1, "patience": "1000s"})
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    load = asyncio.ensure_future(house.keeper.load(house["b"]))
    await house.after(1.0)
    house.keeper.begin_stop()
    await house.after(0.0)
    assert load.done()
    with pytest.raises(ServiceStopping):
        await load
    house.keeper.release(house["a"])


async def test_a_load_by_hand_is_over_once_it_was_loaded_even_if_it_had_to_go_at_once():
    """Calls of another model waited for its place: it is not loaded again and again until nobody else calls."""
    house = House(options={"max_loaded": 1, "patience": "2s"})
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    load = asyncio.ensure_future(house.keeper.load(house["b"]))
    await house.after(2.0)
    call = house.begin("a")  # queues behind the one that takes its place
    await house.after(0.5)
    house.keeper.release(house["a"])
    await house.after(1.0)
    assert load.done()
    await load
    await house.after(1.0)
    await call
    await house.after(10.0)
    assert house.host.loads == {"a": 2, "b": 1}
