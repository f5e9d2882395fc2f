"""Time as a parameter."""

import asyncio
import math
import random
from datetime import UTC

from core.llm.common.clock import Deadline, SystemClock, new_id
from core.llm.testing import FakeClock


async def test_the_system_clock_is_the_clock_of_the_event_loop() -> None:
    """A moment of one is a moment of the other, so timers fire when they should."""
    clock = SystemClock()
    fired = asyncio.Event()
    assert abs(clock.monotonic() - asyncio.get_running_loop().time()) < 0.5
    clock.call_at(clock.monotonic() + 0.01, fired.set)
    clock.call_at(clock.monotonic() + 0.01, fired.clear).cancel()
    await asyncio.wait_for(fired.wait(), 30)
    before = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.009
    assert clock.now().tzinfo is UTC


def test_a_deadline_is_one_moment_for_everything() -> None:
    """It counts down on the clock; without a limit it never comes."""
    clock = FakeClock()
    deadline = Deadline(clock.monotonic() + 5)
    assert deadline.remaining(clock) == 5
    assert Deadline(math.inf).remaining(clock) == math.inf


def test_ids_are_long_and_come_from_the_given_source() -> None:
    """The same seed gives the same ids; a small number keeps its zeros."""
    ids = [new_id(random.Random(seed)) for seed in range(100)]
    assert len(set(ids)) == 100
    assert all(len(one) == 32 for one in ids)
    assert new_id(random.Random(1)) == new_id(random.Random(1))
