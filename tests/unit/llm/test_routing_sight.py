"""How the models of a running service look to routing."""

from decimal import Decimal
from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelRef
from core.llm.routing.snapshot import Candidate
from core.llm.runtime.sight import RuntimeSight
from core.llm.runtime.state import RuntimeState
from core.llm.testing import FakeClock
from tests.unit.llm.support import World, serving

X = {"x": {"use": ["alpha/m", "beta/m"], "strategy": "first_token", "fallback": []}}
PRICED = {
    "alpha": {"models": {"m": {"price": {"input": 1, "output": 2}, "context_window": 500, "capabilities": ["chat"]}}}
}


def seen(world: World, provider: str = "alpha", model: str = "m") -> Candidate:
    """The model as it is now."""
    runtime = world.holder.current
    return RuntimeSight(runtime, runtime.state).candidate(ModelRef(provider, model), 2.0)


async def test_a_model_is_seen_with_its_facts() -> None:
    """Those of the configuration."""
    async with serving(providers=PRICED) as world:
        found = seen(world)
        assert (found.ref, found.weight, found.rests) == (ModelRef("alpha", "m"), 2.0, False)
        assert (found.context_window, set(found.capabilities)) == (500, {"chat"})
        assert found.price is not None
        assert found.price.output == 2
        assert (found.in_flight, found.latency, found.error_rate, found.loaded) == (0, None, 0.0, None)


async def test_a_model_without_a_price_that_one_runs_oneself_is_free() -> None:
    """So the cheapest is the one on the own machine; a hosted one without a price is unknown."""
    providers: dict[str, Any] = {"beta": {"type": "scripted_host"}}
    async with serving(providers=providers) as world:
        assert seen(world).price is None
        free = seen(world, "beta").price
        assert free is not None
        assert (free.input, free.output) == (Decimal(0), Decimal(0))


async def test_what_streams_have_shown_is_seen() -> None:
    """The time to the first output, on the clock of the service."""
    clock = FakeClock(auto_advance=True)
    async with serving(clock=clock, models=X) as world:
        world.alpha.will_stream("a", "b", delay=3.0)
        async with world.service.stream("hi", model="x") as stream:
            await stream.response()
        assert (seen(world).first_token, seen(world).latency) == (3.0, 3.0)


async def test_what_is_left_of_the_limits_is_seen() -> None:
    """Of the provider, as its limits count it."""
    clock = FakeClock()
    limits = {"alpha": {"rate_limits": {"requests_per_minute": 60, "burst": "10s"}}}
    async with serving(clock=clock, models=X, providers=limits) as world:
        for _ in range(5):
            await world.service.generate("hi", model="alpha/m")
        assert seen(world).headroom == pytest.approx(0.5)
        assert seen(world, "beta").headroom == 1.0


async def test_a_provider_that_is_off_rests() -> None:
    """Its facts are nobody's business."""
    async with serving(providers={"beta": {"enabled": False}}) as world:
        runtime = world.holder.current
        assert seen(world, "beta").rests
        assert RuntimeSight(runtime, runtime.state).facts(ModelRef("beta", "m")) is None


async def test_a_reference_to_a_provider_is_seen_as_its_default_model() -> None:
    """The candidate stays what the configuration calls it; where nobody names a model nothing is known."""
    async with serving(providers={**PRICED, "beta": {"models": []}}) as world:
        found = seen(world, "alpha", "")
        assert (found.ref, found.context_window) == (ModelRef("alpha", ""), 500)
        assert (seen(world, "beta", "").context_window, seen(world, "beta", "").rests) == (None, False)


async def test_a_provider_that_asked_to_wait_rests_until_it_may_be_asked() -> None:
    """By the clock of the service."""
    clock = FakeClock()
    async with serving(clock=clock) as world:
        world.alpha.will_raise(ProviderError("rate_limit", "slow down", retry_after=30.0))
        with pytest.raises(ProviderError):
            await world.service.generate("hi", model="alpha/m", timeout=1)
        assert seen(world).rests
        await clock.advance(31.0)
        assert not seen(world).rests


async def test_what_was_measured_is_forgotten_with_its_provider() -> None:
    """A provider that comes back under the same name starts anew."""
    async with serving(models=X) as world:
        state = world.holder.current.state
        kept, gone = state.traffic(ModelRef("alpha", "m")), state.traffic(ModelRef("beta", "m"))
        state.keep({"alpha": world.holder.current.config.providers["alpha"]})
        assert state.traffic(ModelRef("alpha", "m")) is kept
        assert state.traffic(ModelRef("beta", "m")) is not gone


async def test_names_of_models_do_not_pile_up() -> None:
    """They may come from callers; what is in flight is never forgotten."""
    async with serving() as world:
        state = RuntimeState(FakeClock(), world.events)
        busy = state.traffic(ModelRef("p", "busy"))
        busy.in_flight = 1
        for number in range(10_000):
            state.traffic(ModelRef("p", str(number)))
        assert len(state.measured) <= 4096
        assert state.traffic(ModelRef("p", "busy")) is busy
