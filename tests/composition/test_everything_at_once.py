"""F124, F125: one call with everything switched on, cancelled anywhere, stopped in the middle, and under other clocks."""

import asyncio
from datetime import timedelta
from types import FunctionType
from typing import Any, Final

import pytest

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.events import CallFinished
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.testing import EventRecorder, FakeClock
from core.llm.testing.sweep import cancel_sweep
from tests.composition.everything import FEATURES, arrange, ask, at_rest, begin_anew, left_behind, world
from tests.unit.llm.support import World

EVERYTHING: Final[dict[str, Any]] = {
    **FEATURES["weighted"],
    **FEATURES["hedge"],
    **FEATURES["restart"],
    **FEATURES["shadow"],
    **FEATURES["limits"],
    **FEATURES["fallback_on"],
}


async def whole(running: World) -> None:
    await ask(running, "generate", "all", "Write to a@example.com")


async def streamed(running: World) -> None:
    await ask(running, "stream", "all", "Write to a@example.com")


async def an_object(running: World) -> None:
    await ask(running, "object", "all", "Write to a@example.com")


@pytest.mark.leakcheck
@pytest.mark.parametrize("fault", ["slow", "breaks", "fails_twice"])
@pytest.mark.parametrize("call", [whole, streamed, an_object])
async def test_F124_F125_a_call_with_everything_on_leaves_nothing_wherever_it_is_cancelled(
    call: FunctionType, fault: str
) -> None:
    """Once and twice: no lease, slot, reservation, probe, copy, user, timer or open row, and it has ended once."""
    clock = FakeClock(auto_advance=True)
    mode = {"whole": "generate", "streamed": "stream", "an_object": "object"}[call.__name__]
    async with world({"all": EVERYTHING}, clock, everywhere=True) as running:
        recorder = EventRecorder(running.events, CallFinished)
        ledger = running.container.get(UsageLedger)
        timers = clock.pending

        async def prepare() -> None:
            begin_anew(running)
            arrange(running, mode, fault)
            running.holder.current.state.memory.answers.bound(0, 0)
            running.holder.current.state.memory.answers.bound(100, 10**6)
            recorder.clear()

        async for point in cancel_sweep(lambda: call(running), prepare=prepare):
            await at_rest(running)
            for _ in range(100):  # whoever was cut lets go of its upstream some turns later
                if not left_behind(running):
                    break
                await asyncio.sleep(0)
            assert left_behind(running) == [], point
            assert clock.pending == timers, point
            assert not [row for row in await ledger.rows() if row.state == "open"], point
            assert len(recorder) <= 1, point


async def test_followers_of_a_call_go_on_without_whoever_began_it() -> None:
    """The first of three identical calls is cancelled, the second runs out of time; the third is answered, once."""
    clock = FakeClock(auto_advance=False)
    async with world({"all": EVERYTHING}, clock, everywhere=True) as running:
        gates = [script.will_hold("There you are.") for script in (running.alpha, running.beta)]
        calls = [
            asyncio.create_task(running.service.generate("hi", model="all", timeout=timeout)) for timeout in (60, 1, 60)
        ]
        await clock.settle()
        calls[0].cancel()
        await clock.advance(2)
        with pytest.raises(ProviderError, match="deadline"):
            await calls[1]
        for gate in gates:
            gate.open()
        await clock.settle()
        assert (await asyncio.wait_for(calls[2], 30)).content == "There you are."
        assert calls[0].cancelled()
        await at_rest(running)
        assert left_behind(running) == []


@pytest.mark.leakcheck
@pytest.mark.parametrize("streaming", [False, True])
async def test_F127_stopping_ends_whoever_waits_follows_hedges_copies_or_recovers(streaming: bool) -> None:
    """A hundred calls in the queue of a limit among them: each gets an error that says so, and nothing is left."""
    clock = FakeClock(auto_advance=True)
    async with world({"all": EVERYTHING, "other": EVERYTHING}, clock, everywhere=True) as running:
        for script in running.scripts.values():
            for _ in range(300):
                script.will_hold()

        async def one(number: int) -> str:
            options: dict[str, Any] = {"model": "all", "timeout": 1e6}
            try:
                if streaming:
                    async with running.service.stream(f"say {number // 2}", **options) as events:
                        async for _ in events:
                            pass
                else:
                    await running.service.generate(f"say {number // 2}", **options)
            except LLMError as error:
                return f"{error}"
            return "answered"

        calls = [asyncio.create_task(one(number)) for number in range(200)]
        for _ in range(300):
            await asyncio.sleep(0)
        state = running.holder.current.state
        assert sum(state.upstream(name).limits.queue.length for name in running.scripts) > 50
        await asyncio.wait_for(running.container.stop(), 20)
        said = await asyncio.wait_for(asyncio.gather(*calls), 30)
        assert len(said) == 200
        assert {"the call was cut" in text or "cut" in text or "stopping" in text for text in said} == {True}, set(said)
        assert {script.active for script in running.scripts.values()} == {0}


@pytest.mark.parametrize("hours", [1, -1, 24 * 365 * 100])
async def test_F161_neither_a_jump_of_the_wall_clock_nor_a_far_future_stops_a_call(hours: int) -> None:
    """Waiting is measured on the monotonic clock; only what is written down has the time of day."""
    clock = FakeClock(3.2e9, auto_advance=True)
    async with world({"all": EVERYTHING}, clock, everywhere=True) as running:
        for number, mode in enumerate(("generate", "stream", "embed", "generate")):
            begin_anew(running)
            arrange(running, mode, "fails_once")
            asked = asyncio.create_task(ask(running, mode, "all", f"hi number {number}"))
            await asyncio.sleep(0)
            clock._wall += timedelta(hours=hours)
            await asyncio.wait_for(asked, 30)
            await at_rest(running)
            assert left_behind(running) == []
        rows = await running.container.get(UsageLedger).rows()
        assert all(row.duration >= 0 and row.state != "open" for row in rows)
