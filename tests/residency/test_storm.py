"""Many callers, many models, too little room: nothing is unloaded in use, no limit is broken, nothing is left."""

import asyncio
import random

import pytest

from core.llm.common.exceptions import LLMError
from tests.residency.service import Served, eventually, llama
from tests.unit.residency.support import House, load_error

REQUESTS = 2_400
CALLERS = 40


async def test_2400_requests_over_8_models_with_room_for_3_ML03_ML04():
    """Three in a hundred loads fail, ten in a hundred callers give up, idle models go after 20 ms."""
    rng = random.Random(20)
    names = [f"m{number}" for number in range(8)]
    sizes = {name: 10 + 5 * (number % 4) for number, name in enumerate(names)}
    house = House(
        options={
            "max_loaded": 3,
            "memory_budget": {"cpu": 70},
            "max_parallel_loads": 2,
            "idle_ttl": "20ms",
            "patience": "500ms",
            "acquire_timeout": "1h",
        },
        **sizes,
    )
    house.host.load_seconds, house.host.unload_seconds = 0.05, 0.02

    async def sometimes_fail(model: str) -> None:
        if rng.random() < 0.03:
            raise load_error(f"{model} fails now and then")

    house.host.before_ready = sometimes_fail
    served = failed = cancelled = 0
    exceeded: list[str] = []

    def check() -> None:
        there = [one for one in house.keeper.residents if one.phase != "absent"]
        if len(there) > 3 or sum(one.size for one in there) > 70:
            exceeded.append(str([(one.name, one.phase) for one in there]))

    async def call(model: str) -> None:
        await house.keeper.acquire(house[model])
        try:
            check()
            await house.clock.sleep(rng.uniform(0.001, 0.03))
            check()
        finally:
            house.keeper.release(house[model])

    async def caller() -> None:
        nonlocal served, failed, cancelled
        for _ in range(REQUESTS // CALLERS):
            model = rng.choice(names)
            task = asyncio.ensure_future(call(model))
            if rng.random() < 0.1:
                await house.clock.sleep(rng.uniform(0.0, 0.03))
                task.cancel()
            await asyncio.wait([task])
            if task.cancelled():
                cancelled += 1
            elif task.exception() is None:
                served += 1
            else:
                assert isinstance(task.exception(), LLMError)
                failed += 1
            await house.clock.sleep(rng.uniform(0.0, 0.01))

    callers = [asyncio.ensure_future(caller()) for _ in range(CALLERS)]
    for _ in range(20_000):
        if all(task.done() for task in callers):
            break
        await house.clock.advance(0.05)
    await asyncio.gather(*callers)

    assert served + failed + cancelled == REQUESTS
    assert served > REQUESTS // 2
    assert exceeded == []
    assert house.host.unloaded_in_use == []
    assert house.host.peak <= 3
    assert house.host.peak_bytes <= 70
    assert sum(one.leases for one in house.keeper.residents) == 0
    await house.clock.advance(1.0)
    assert house.host.memory == set()
    await house.keeper.close()
    assert house.clock.pending == 0


@pytest.mark.leakcheck
async def test_a_storm_on_real_workers_ML03_ML04():
    """Sixty calls to five models, two of which may be in memory; some callers leave."""
    rng = random.Random(5)
    names = ["a", "b", "c", "d", "e"]
    async with Served(
        llama(*names, max_loaded=2, patience="200ms", acquire_timeout="2m", max_parallel_loads=2)
    ) as served:
        peak = 0

        async def call(number: int) -> str:
            nonlocal peak
            answer = await served.llm.generate("hi", model=f"local/{rng.choice(names)}", max_tokens=3 + number % 5)
            peak = max(peak, sum(one.state != "unloaded" for one in served.models.list()))
            return answer.content

        calls = [asyncio.ensure_future(call(number)) for number in range(60)]
        await asyncio.sleep(0.2)
        for task in calls[::12]:
            task.cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [end for end in ends if isinstance(end, Exception)] == []
        assert sum(isinstance(end, str) for end in ends) >= 55
        assert peak <= 2
        await eventually(lambda: served.leases() == 0)
