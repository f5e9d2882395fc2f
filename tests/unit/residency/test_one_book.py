"""Two providers that come to mean one model in one way of loading share its book."""

import asyncio

from core.llm.common.types import ModelRef
from tests.unit.residency.support import FakeHost, House


async def test_an_edit_that_makes_two_models_one_keeps_the_book_that_is_in_use() -> None:
    """A call that holds it is still counted, and the model is not loaded a second time for the other provider."""
    house = House(owned=False, options={"max_loaded": 3})
    other = FakeHost(house.clock, owned=False, a=10)
    house.host.options["a"], other.options["a"] = 4096, 8192
    providers = {"local": house.host, "other": other}
    house.keeper.configure(house.options, providers)
    idle = house["a"]
    used = house.keeper.resident(ModelRef("other", "a"), other, house.options)
    assert used is not None
    call = asyncio.ensure_future(house.keeper.acquire(used))
    await house.after(other.load_seconds)
    await call

    house.host.options["a"] = 8192
    house.keeper.configure(house.options, providers)

    assert house["a"] is used
    assert used.leases == 1
    assert idle not in house.keeper.residents
    await house.keeper.acquire(house["a"])
    assert house.host.loads["a"] == 0
