"""The cancel sweep finds what a cancelled coroutine leaves behind."""

import asyncio
import contextlib

import pytest

from core.llm.testing import SweepPoint, cancel_sweep


class Slots:
    """Something that is taken and given back."""

    def __init__(self) -> None:
        self.taken = 0
        self.settled = 0


async def careful(slots: Slots) -> None:
    """Gives back whatever happens."""
    slots.taken += 1
    try:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    finally:
        slots.taken -= 1


async def careless(slots: Slots) -> None:
    """Waits in its clean-up before it gives back."""
    slots.taken += 1
    try:
        await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0)
        slots.taken -= 1


async def test_every_suspension_is_cancelled_once_and_the_last_run_gets_through() -> None:
    """Two suspensions make two cancelled runs and one that returns."""
    slots = Slots()
    points = [point async for point in cancel_sweep(lambda: careful(slots))]
    assert points == [
        SweepPoint(0, None, True, "cancelled"),
        SweepPoint(1, None, True, "cancelled"),
        SweepPoint(2, None, False, "returned"),
    ]
    assert slots.taken == 0


async def test_a_second_cancellation_finds_a_clean_up_that_waits() -> None:
    """One cancellation is survived, the second loses the slot."""
    slots = Slots()
    lost = []
    async for point in cancel_sweep(lambda: careless(slots)):
        if slots.taken:
            lost.append((point.first, point.second))
            slots.taken = 0
    assert lost == [(0, 1), (1, None)]


async def test_a_swallowed_cancellation_shows() -> None:
    """A coroutine that goes on after it was cancelled is reported as having returned."""

    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

    points = [point async for point in cancel_sweep(deaf, twice=False)]
    assert [(point.hit, point.ending) for point in points] == [(True, "returned"), (False, "returned")]


async def test_an_error_is_told_apart_from_a_cancellation() -> None:
    """The error is part of the report."""

    async def converting() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("turned into something else") from None

    async for point in cancel_sweep(converting):
        assert point.ending == "raised"
        assert "something else" in str(point)
        break


async def test_a_run_that_hangs_after_its_cancellation_is_named() -> None:
    """Nobody waits for ever."""

    async def stubborn() -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="suspension 0: returned, but not within"):
        async for _ in cancel_sweep(stubborn, within=0.05, twice=False):
            pass
