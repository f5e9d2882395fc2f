"""A worker's slots: bounded, fair, and never lost to a cancelled caller."""

import asyncio

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.transport.process_slots import Slots


async def test_callers_get_their_slots_in_order_of_arrival():
    """Nobody is overtaken."""
    slots = Slots(1, max_waiting=10)
    await slots.take()
    order = []

    async def caller(number):
        await slots.take()
        order.append(number)
        slots.give()

    tasks = [asyncio.create_task(caller(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert slots.waiting == 5
    slots.give()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]
    assert slots.free == 1


async def test_a_full_queue_refuses_at_once():
    """The next candidate can be asked without waiting."""
    slots = Slots(1, max_waiting=1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    with pytest.raises(ProviderError) as caught:
        await slots.take()
    assert (caught.value.type, caught.value.code, caught.value.billing) == ("overloaded", "queue_full", "none")
    slots.give()
    await waiting


async def test_a_cancelled_waiter_leaves_the_queue():
    """Its place goes to the next."""
    slots = Slots(1, max_waiting=5)
    await slots.take()
    first, second = (asyncio.create_task(slots.take()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    slots.give()
    await second
    assert slots.free == 0
    assert slots.waiting == 0


async def test_a_slot_handed_to_a_caller_in_the_moment_of_its_cancellation_is_passed_on():
    """Cancelling never loses a slot."""
    slots = Slots(1, max_waiting=5)
    await slots.take()
    doomed, next_one = (asyncio.create_task(slots.take()) for _ in range(2))
    await asyncio.sleep(0)
    slots.give()
    doomed.cancel()
    await next_one
    slots.give()
    assert slots.free == 1
