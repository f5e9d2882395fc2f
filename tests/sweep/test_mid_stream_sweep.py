"""F124, F125: a call that is cancelled while its broken stream is being recovered leaves nothing behind."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from core.llm.common.decisions import StreamRecovered
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts
from core.llm.testing import EventRecorder, FakeClock
from core.llm.testing.sweep import cancel_sweep
from tests.sweep.test_service_sweep import CHAIN, HALTING, Halting, assert_clean
from tests.unit.llm.support import World, serving

BROKEN = ProviderError("network_error", "it broke", code="body_cut")


def route(mid_stream: Any) -> dict[str, Any]:
    """The chain of the other sweeps, with a policy."""
    return {**CHAIN, "models": {"fast": {"use": "alpha/m", "fallback": ["beta/m"], "mid_stream": mid_stream}}}


async def read(world: World) -> None:
    async with world.service.stream("hi there", timeout=60) as events:
        async for _ in events:
            await asyncio.sleep(0)


async def leave_after_the_break(world: World) -> None:
    text = ""
    async with world.service.stream("hi there", timeout=60) as events:
        async for event in events:
            text += event.text
            if len(text) > len("The quick "):
                break
        await asyncio.sleep(0)


async def cancelled_from_outside(world: World) -> None:
    async with world.service.stream("hi there", timeout=60) as events:
        await anext(events)
        (stream,) = world.service.active_streams()
        world.service.cancel_stream(stream.call_id)
        await asyncio.sleep(0)


async def sweep(mid_stream: Any, scenario: Callable[[World], Coroutine[Any, Any, Any]], least: int) -> None:
    """Cancel *scenario* everywhere, once and twice, while alpha's stream breaks and beta takes over."""
    clock = FakeClock(auto_advance=True)
    runs = recovered = 0
    async with serving(clock=clock, plugins=[HALTING], retries=1, **route(mid_stream)) as world:
        seen = EventRecorder(world.events)
        timers = clock.pending
        world.provider("beta").facts = lambda _: ModelFacts(quirks={"prefill": True})  # type: ignore[method-assign]  # a model that can

        async def prepare() -> None:
            seen.clear()
            for name, script in world.scripts.items():
                script._replies.clear()
                upstream = world.holder.current.state.upstream(name)
                upstream.budget._balance = 50.0
                for breaker in upstream.breaker.models.values():
                    breaker.__init__()  # type: ignore[misc]  # as new, in the same place
                models = upstream.breaker.models
                upstream.breaker.__init__()  # type: ignore[misc]  # likewise; the layers hold it and its models
                upstream.breaker.models.update(models)
            world.alpha.will_stream("The ", "quick ", BROKEN)
            world.beta.will_stream(" brown", " fox")

        async for point in cancel_sweep(lambda: scenario(world), prepare=prepare):
            runs += 1
            recovered += bool(seen.of(StreamRecovered))
            assert world.service.active_streams() == (), point
            if scenario is read:
                assert_clean(world, point, seen, clock, timers)
            else:
                assert (world.leases(), Halting.open_connections) == (0, 0), point
                assert (world.alpha.active, world.beta.active) == (0, 0), point
                assert clock.pending == timers, point
    assert runs >= least
    # Some of the cancellations came before the recovery, some after it.
    assert (0 < recovered < runs) == (mid_stream in ("restart", "continue"))


@pytest.mark.leakcheck
@pytest.mark.parametrize("policy", ["restart", "continue", {"policy": "buffer", "buffer_tokens": 100}])
async def test_F124_F125_G13_a_recovery_that_is_cancelled_leaves_nothing(policy: Any) -> None:
    """At each suspension, once and twice: no lease, no connection of either upstream, no timer, one ending."""
    await sweep(policy, read, least=20)


@pytest.mark.leakcheck
@pytest.mark.parametrize("policy", ["restart", "continue"])
async def test_F124_F125_G13_leaving_a_recovered_stream_leaves_nothing(policy: Any) -> None:
    """The upstream that took over is let go."""
    await sweep(policy, leave_after_the_break, least=12)


@pytest.mark.leakcheck
async def test_F124_F125_a_stream_cancelled_from_outside_and_by_its_task_leaves_nothing() -> None:
    """Whichever comes first."""
    await sweep("error", cancelled_from_outside, least=5)
