"""Room: who goes for whom, when, and what never goes."""

import asyncio

import pytest

from core.llm.common.exceptions import LLMError, ModelLoadError, NoCapacity, ProviderError
from tests.unit.residency.support import House, load_error


async def test_ML03_a_model_in_use_is_never_unloaded_for_another():
    """The other one waits until the lease ends."""
    house = House(options={"max_loaded": 1, "patience": "1000s"})
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    call = house.begin("b")
    await house.after(30.0)
    assert house["a"].phase == "ready"
    house.keeper.release(house["a"])
    await house.after(1.0)
    await call
    assert house.ready == {"b"}
    assert house.host.unloaded_in_use == []


async def test_ML04_places_and_memory_are_never_exceeded():
    """What loads, drains and unloads counts too."""
    house = House(options={"max_loaded": 2, "memory_budget": {"cpu": 25}, "max_parallel_loads": 8})
    house.host.unload_seconds = 0.7
    for round_ in range(6):
        calls = [asyncio.ensure_future(house.use(model)) for model in ("a", "b", "c")[: 2 + round_ % 2]]
        await house.after(12.0)
        await asyncio.gather(*calls)
    assert house.host.peak == 2
    assert house.host.peak_bytes <= 25


async def test_ML05_the_least_recently_used_goes_first():
    """a, b, a again, c: b goes."""
    house = House(options={"max_loaded": 2})
    await house.loaded("a", "b", "a", "c")
    assert house.ready == {"a", "c"}
    assert house.host.unloads == {"b": 1}


async def test_ML05_a_pinned_model_stays_however_long_it_is_idle():
    """Another one goes."""
    house = House(options={"max_loaded": 2})
    house.keeper.pin(house["a"])
    await house.after(1.0)
    await house.loaded("b", "c")
    assert house.ready == {"a", "c"}


async def test_ML05_where_only_pinned_models_are_in_the_way_the_call_is_refused_at_once():
    """Waiting would not help."""
    house = House(options={"max_loaded": 1})
    house.keeper.pin(house["a"])
    await house.after(1.0)
    with pytest.raises(NoCapacity, match="pinned"):
        await house.keeper.acquire(house["b"])


async def test_ML06_a_call_that_waits_too_long_for_room_fails():
    """After acquire_timeout, which is for room only."""
    house = House(options={"max_loaded": 1, "acquire_timeout": "2s", "patience": "1000s"})
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    call = house.begin("b")
    await house.after(2.0)
    with pytest.raises(NoCapacity):
        await call
    assert house["b"].waiters == {}


async def test_ML06_the_time_of_a_load_is_not_the_time_for_room():
    """A load that is longer than acquire_timeout is waited for."""
    house = House(options={"acquire_timeout": "2s"})
    house.host.load_seconds = 30.0
    call = house.begin("a")
    await house.after(30.0)
    await call


async def test_ML06_a_model_that_is_always_in_use_does_not_starve_another():
    """After `patience` it takes no new calls: its leases end, those who came later queue behind."""
    house = House(options={"max_loaded": 1, "patience": "3s"})
    await house.loaded("a")
    served: list[str] = []

    async def user(model: str, seconds: float) -> None:
        for _ in range(12):
            await house.keeper.acquire(house[model])
            await house.clock.sleep(seconds)
            house.keeper.release(house[model])
            served.append(model)

    users = [asyncio.ensure_future(user("a", 1.0)), asyncio.ensure_future(user("a", 1.3))]
    await house.after(0.5)
    call = asyncio.ensure_future(house.use("b"))
    await house.after(6.0)
    assert call.done()
    assert house.host.unloaded_in_use == []
    await house.after(60.0)
    await asyncio.gather(*users)
    assert served.count("a") == 24


async def test_ML08_an_idle_model_is_unloaded_after_its_time():
    """Not before, and a call within it begins the time anew."""
    house = House(options={"idle_ttl": "10s"})
    await house.loaded("a")
    await house.after(8.0)
    await house.use("a")
    await house.after(9.9)
    assert house.ready == {"a"}
    await house.after(0.2)
    assert house.ready == set()
    assert house.host.memory == set()


async def test_ML08_the_time_does_not_run_while_the_model_is_in_use():
    """However long the call is."""
    house = House(options={"idle_ttl": "10s"})
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    await house.after(100.0)
    assert house.ready == {"a"}
    house.keeper.release(house["a"])
    await house.after(10.0)
    assert house.ready == set()


async def test_ML08_a_pinned_model_has_no_idle_time():
    """It stays until it is unpinned."""
    house = House(options={"idle_ttl": "10s"})
    house.keeper.pin(house["a"])
    await house.after(100.0)
    assert house.ready == {"a"}
    house.keeper.unpin(house["a"])
    await house.after(0.0)
    assert house.ready == set()


async def test_ML08_immediate_means_with_its_last_call():
    """What was loaded ahead waits for its first one."""
    house = House(options={"idle_ttl": "immediate"})
    house.keeper.want(house["a"])
    await house.after(100.0)
    assert house.ready == {"a"}
    await house.use("a")
    await house.after(0.0)
    assert house.ready == set()


async def test_ML09_a_call_during_an_unload_waits_for_its_end_and_loads_again():
    """It neither fails nor hangs."""
    house = House(options={"idle_ttl": "10s"})
    house.host.unload_seconds = 2.0
    await house.loaded("a")
    await house.after(9.5)
    assert house["a"].phase == "unloading"
    call = house.begin("a")
    await house.after(1.0)
    assert not call.done()
    await house.after(3.0)
    await call
    assert house.host.loads == {"a": 2}


async def test_an_unload_by_hand_waits_for_the_calls_F143():
    """New ones queue and get the model loaded anew."""
    house = House()
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    unload = asyncio.ensure_future(house.keeper.unload(house["a"]))
    await house.after(5.0)
    later = house.begin("a")
    await house.after(0.0)
    assert (house["a"].phase, unload.done(), later.done()) == ("draining", False, False)
    house.keeper.release(house["a"])
    await house.after(2.0)
    await asyncio.gather(unload, later)
    assert house.host.unloaded_in_use == []
    assert house.host.loads == {"a": 2}


async def test_an_unload_by_hand_cuts_what_does_not_end_F143():
    """After drain_timeout, or the time it was given."""
    house = House()
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    unload = asyncio.ensure_future(house.keeper.unload(house["a"], 3.0))
    await house.after(3.0)
    await unload
    assert house.host.unloaded_in_use == ["a"]


async def test_an_unload_by_hand_calls_a_load_off():
    """And returns once it has ended."""
    house = House()
    house.keeper.want(house["a"])
    await house.after(0.5)
    unload = asyncio.ensure_future(house.keeper.unload(house["a"]))
    await house.after(0.0)
    await unload
    assert house.host.cancelled == {"a": 1}
    assert house["a"].phase == "absent"


async def test_an_unloaded_pinned_model_comes_back_with_its_next_call_only():
    """What was done by hand is not undone at once."""
    house = House()
    house.keeper.pin(house["a"])
    await house.after(1.0)
    await house.keeper.unload(house["a"])
    await house.after(100.0)
    assert house.ready == set()
    await house.loaded("a")
    await house.after(100.0)
    assert house.ready == {"a"}


async def test_an_unload_that_a_server_refuses_is_not_tried_again_and_again():
    """The model is somebody else's from then on."""
    house = House(owned=False, options={"max_loaded": 1, "acquire_timeout": "5s"})
    await house.loaded("a")
    house.host.unload_errors["a"] = [ProviderError("timeout", "someone is using it", code="unload_timeout")]
    with pytest.raises(ProviderError, match="someone is using it"):
        await house.keeper.unload(house["a"])
    assert house["a"].ours is False
    assert house.host.unloads == {"a": 1}


async def test_a_pinned_model_is_loaded_again_after_a_crash_with_back_off():
    """At once after the first crash, later ever more slowly; after more than five in a minute no more."""
    from core.llm.common.events import ModelEvent

    house = House()
    house.host.load_seconds = 0.01
    house.keeper.pin(house["a"])
    await house.after(0.02)
    for _ in range(6):
        assert house.ready == {"a"}
        house.host.memory.discard("a")
        house.events.publish(ModelEvent("local/a", "crash", "failed", message="killed by signal 9"))
        await house.after(8.0)
    assert house.ready == set()
    assert house["a"].failures.gave_up
    with pytest.raises(LLMError, match="signal 9"):
        await house.keeper.acquire(house["a"])
    load = asyncio.ensure_future(house.keeper.load(house["a"]))
    await house.after(0.02)
    await load
    assert house.ready == {"a"}


async def test_a_preload_that_fails_is_tried_again_only_where_it_is_pinned():
    """A call tries again too."""
    house = House()
    house.host.errors["a"] = [load_error()]
    house.host.errors["b"] = [load_error()]
    house.keeper.want(house["a"])
    house.keeper.pin(house["b"])
    await house.after(10.0)
    assert house.ready == {"b"}
    load = asyncio.ensure_future(house.keeper.load(house["a"], force=True))
    await house.after(1.0)
    await load


async def test_a_load_by_hand_that_is_cancelled_is_called_off():
    """When nobody else wants the model."""
    house = House()
    load = asyncio.ensure_future(house.keeper.load(house["a"]))
    await house.after(0.5)
    load.cancel()
    await house.after(0.0)
    assert house.host.cancelled == {"a": 1}


async def test_memory_that_was_guessed_too_small_is_put_right():
    """What was measured counts, and idle models go until it fits."""
    house = House(options={"memory_budget": {"cpu": 25}})
    await house.loaded("a")
    house.host.sizes["b"] = 20
    house["b"].placement = house.host.placement("b").__class__(("x",), owned=True, device="cpu", size_bytes=10)
    await house.loaded("b")
    assert house.ready == {"b"}
    assert house["b"].size == 20


def test_load_errors_are_of_one_kind():
    """The support's own."""
    assert isinstance(load_error(), ModelLoadError)


async def test_a_load_that_is_waited_for_is_no_lack_of_room():
    """Slow loads one after the other on one device: nothing is in use, so nobody is told that there is no room."""
    house = House(options={"acquire_timeout": "2s"})
    house.host.load_seconds = 30.0
    calls = [house.begin(model) for model in ("a", "b", "c")]
    await house.after(31.0)
    await house.after(31.0)
    await house.after(31.0)
    await asyncio.gather(*calls)
    assert house.ready == {"a", "b", "c"}


async def test_a_load_in_the_place_that_is_wanted_is_no_lack_of_room_either():
    """One place: the second one waits for the load, and for room only once the first one is in use."""
    house = House(options={"max_loaded": 1, "acquire_timeout": "2s", "patience": "1000s"})
    house.host.load_seconds = 30.0
    first = house.begin("a")
    await house.after(1.0)
    second = house.begin("b")
    await house.after(29.0)
    await first
    assert not second.done()
    await house.after(1.9)
    assert not second.done()
    await house.after(0.2)
    with pytest.raises(NoCapacity, match=r"within 2 s\. In memory: local/a \(1 calls\)"):
        await second


async def test_an_unload_that_is_waited_for_is_no_lack_of_room():
    """The old model is on its way out, however slowly."""
    house = House(options={"max_loaded": 1, "acquire_timeout": "2s"})
    await house.loaded("a")
    house.host.unload_seconds = 20.0
    call = house.begin("b")
    await house.after(20.0)
    await house.after(1.0)
    await call
    assert house.ready == {"b"}


async def test_what_was_waited_for_before_a_load_counts():
    """The time for room is the sum of the times in which others held it."""
    house = House(options={"max_loaded": 1, "acquire_timeout": "2s", "patience": "1000s"})
    house.host.load_seconds = 30.0
    await house.loaded("a")
    assert house.keeper.lease(house["a"])
    early, late = house.begin("b"), house.begin("c")
    await house.after(1.5)
    house.keeper.release(house["a"])
    await house.after(30.0)  # b is loaded and in use from here on
    await early
    await house.after(0.4)
    assert not late.done()
    await house.after(0.2)
    with pytest.raises(NoCapacity):
        await late
