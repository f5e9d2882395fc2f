"""F124, F125: a call that is cancelled anywhere, even twice, leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from core.llm.common.events import CallFinished
from core.llm.common.exceptions import ProviderError
from core.llm.pipeline.breaker import Breaker
from core.llm.providers.base.provider import ModelStatus, ProgressCallback, ProviderServices
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.response import EmbeddingResponse, StreamEvent
from core.llm.providers.base.spec import ProviderSpec
from core.llm.testing import EventRecorder, FakeClock, ScriptedConfig, ScriptedModelHost
from core.llm.testing.sweep import SweepPoint, cancel_sweep
from tests.unit.llm.support import World, serving

HALTING = ProviderSpec("halting", "core.llm.testing.provider:ScriptedConfig", "tests.sweep.test_service_sweep:Halting")
"""The provider below as a type."""


class Halting(ScriptedModelHost):
    """Waits at every step, also in its clean-up, as a provider with a connection does."""

    open_connections = 0
    config: ScriptedConfig

    def __init__(self, config: ScriptedConfig, services: ProviderServices) -> None:
        super().__init__(config, services)
        Halting.open_connections = 0

    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        await asyncio.sleep(0)
        Halting.open_connections += 1
        try:
            async for event in super().stream_generate(request):
                await asyncio.sleep(0)
                yield event
        finally:
            Halting.open_connections -= 1
            await asyncio.sleep(0)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        await asyncio.sleep(0)
        vectors = await super().embed(request)
        await asyncio.sleep(0)
        return vectors

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        await asyncio.sleep(0)
        return await super().load_model(model, progress)

    async def start(self) -> None:
        await asyncio.sleep(0)
        await super().start()

    async def close(self) -> None:
        await asyncio.sleep(0)
        await super().close()


CHAIN: dict[str, Any] = {
    "models": {"fast": {"use": "alpha/m", "fallback": ["beta"]}},
    "default_model": "fast",
    "providers": {
        "alpha": {"type": "halting", "api_keys": ["k1", "k2"]},
        "beta": {"type": "halting", "api_key": "k3"},
    },
}


def assert_clean(world: World, point: SweepPoint, seen: EventRecorder, clock: FakeClock, timers: int) -> None:
    """What must hold after every run."""
    assert world.leases() == 0, point
    assert Halting.open_connections == 0, point
    assert (world.alpha.active, world.beta.active) == (0, 0), point
    assert not [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "cancel-sweep"], point
    assert clock.pending == timers, f"{point}: a timer is left"
    for name in ("alpha", "beta"):
        upstream = world.holder.current.state.upstream(name)
        assert not upstream.breaker._probing, f"{point}: the place of the probe of {name} is taken for ever"
        assert upstream.breaker.state == "closed", point
        for state in upstream.keys._by_id.values():
            assert state.resting_until <= clock.monotonic(), f"{point}: a key of {name} rests"
    endings = [event.outcome for event in seen.of(CallFinished)]
    assert len(endings) <= 1, point
    if point.hit:
        assert point.ending == "cancelled", point
        assert endings in ([], ["cancelled"]), f"{point}: reported as {endings}"
    else:
        assert (point.ending, endings) == ("returned", ["answered"] if endings else []), point


async def sweep(scenario: Callable[[World], Coroutine[Any, Any, Any]], fail_first: bool = False) -> int:
    """Sweep *scenario* over a service with two providers; returns how many runs there were."""
    clock = FakeClock(auto_advance=True)
    runs = 0
    async with serving(clock=clock, plugins=[HALTING], retries=1, **CHAIN) as world:
        seen = EventRecorder(world.events)
        timers = clock.pending

        async def prepare() -> None:
            seen.clear()
            for script in world.scripts.values():
                script._replies.clear()
            if fail_first:
                # A rebuilt budget keeps every run alike.
                for name in world.scripts:
                    world.holder.current.state.upstream(name).budget._balance = 50.0
                    world.holder.current.state.upstream(name).breaker.__init__()  # type: ignore[misc]  # a breaker as new, in the same place
                world.alpha.will_raise(ProviderError("server_error", "first"))
                world.alpha.will_raise(ProviderError("server_error", "second"))

        async for point in cancel_sweep(lambda: scenario(world), prepare=prepare):
            runs += 1
            assert_clean(world, point, seen, clock, timers)
    return runs


async def generate(world: World) -> None:
    await world.service.generate("hi there", timeout=60)


async def stream(world: World) -> None:
    async with world.service.stream("hi there", timeout=60) as events:
        async for _ in events:
            await asyncio.sleep(0)


async def stream_left_early(world: World) -> None:
    async with world.service.stream("hi there", timeout=60) as events:
        await anext(events)
        await anext(events)
        await asyncio.sleep(0)


async def plain_iterator(world: World) -> None:
    async for _ in world.service.stream_generate("hi there", timeout=60):
        pass


async def embed(world: World) -> None:
    await world.service.embed(["a", "b"], timeout=60)


async def count_tokens(world: World) -> None:
    await world.service.count_tokens("hi there")


async def load_model(world: World) -> None:
    await world.service.load_model("alpha/m")


@pytest.mark.leakcheck
@pytest.mark.parametrize(
    ("scenario", "least"),
    [(generate, 5), (stream, 8), (plain_iterator, 5), (embed, 3), (count_tokens, 1), (load_model, 2)],
)
async def test_F124_a_cancelled_call_leaves_nothing(
    scenario: Callable[[World], Coroutine[Any, Any, Any]], least: int
) -> None:
    """At each suspension, once and twice: no lease, no connection, no timer, no key at rest, and it stays cancelled."""
    assert await sweep(scenario) >= least


@pytest.mark.leakcheck
@pytest.mark.parametrize("scenario", [generate, stream])
async def test_F124_a_call_cancelled_between_retries_and_fallbacks_leaves_nothing(
    scenario: Callable[[World], Coroutine[Any, Any, Any]],
) -> None:
    """While it backs off, and while it moves on to the next provider."""
    assert await sweep(scenario, fail_first=True) >= 8


@pytest.mark.leakcheck
async def test_F124_a_stream_left_early_and_cancelled_leaves_nothing() -> None:
    """Its end is reported once, as abandoned or as cancelled."""
    clock = FakeClock(auto_advance=True)
    async with serving(clock=clock, plugins=[HALTING], **CHAIN) as world:
        seen = EventRecorder(world.events)

        async def prepare() -> None:
            seen.clear()

        async for point in cancel_sweep(lambda: stream_left_early(world), prepare=prepare):
            assert (world.leases(), Halting.open_connections) == (0, 0), point
            assert [event.outcome for event in seen.of(CallFinished)] in ([], ["cancelled"], ["abandoned"]), point


@pytest.mark.leakcheck
@pytest.mark.parametrize("scenario", [generate, stream])
async def test_F94_a_cancelled_probe_gives_its_place_back(
    scenario: Callable[[World], Coroutine[Any, Any, Any]],
) -> None:
    """Wherever the probe of a half-open breaker is cancelled, the next call may be one."""
    clock = FakeClock(auto_advance=True)
    async with serving(clock=clock, plugins=[HALTING], **CHAIN) as world:
        breaker: Breaker = world.holder.current.state.upstream("alpha").breaker

        async def prepare() -> None:
            breaker.state, breaker.open_until, breaker._good_probes = "open", 0.0, 0

        async for point in cancel_sweep(lambda: scenario(world), prepare=prepare):
            assert not breaker._probing, point
            assert breaker.state in {"half_open", "open"}, point
            assert world.leases() == 0, point


@pytest.mark.leakcheck
async def test_F124_a_cancelled_reload_is_applied_as_a_whole_or_not_at_all() -> None:
    """Whoever asked for it may go away; the service is on one configuration, and nothing is left open."""
    async with serving(plugins=[HALTING], **CHAIN) as world:
        base = world.manager.current
        number = 0

        async def replace() -> None:
            nonlocal number
            number += 1
            providers = {**base.providers}
            providers["alpha"] = providers["alpha"].model_copy(update={"default_model": f"m{number}"})
            await world.manager.replace(base.model_copy(update={"providers": providers}))

        async for point in cancel_sweep(replace):
            async with asyncio.timeout(30):
                while len(world.holder.live) > 1 or world.manager._turns._tasks:
                    await asyncio.sleep(0)
            assert world.holder.current.generation == world.manager.generation, point
            assert world.holder.current.config is world.manager.current, point
            assert (await world.service.generate("hi")).content == "hi", point
