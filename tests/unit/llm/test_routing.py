"""Routing in a running service: what is measured, what is said about it, and that an explanation is what happens."""

import asyncio
import random
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger

from core.llm.common.exceptions import LLMError, ProviderError, UnsupportedFeature
from core.llm.common.types import ModelRef
from core.llm.providers.config.models.aliases import BuiltInStrategy
from core.llm.routing.traffic import Traffic
from core.llm.testing import FakeClock
from tests.unit.llm.support import World, serving

BOTH = ["alpha/m", "beta/m"]
THREE = ("alpha", "beta", "gamma")


def traffic(world: World, name: str) -> Traffic:
    """What calls to that provider's model have shown."""
    return world.holder.current.state.traffic(ModelRef(name, "m"))


def alias(strategy: str, **options: Any) -> dict[str, Any]:
    """The alias x over two providers."""
    return {"x": {"use": BOTH, "strategy": strategy, "fallback": [], **options}}


async def asked(world: World, **options: Any) -> str:
    """Who answers a call."""
    return (await world.service.generate("hi", model="x", **options)).provider or ""


async def test_the_faster_model_is_preferred_and_the_slow_one_tried_again_later() -> None:
    """A slow answer is forgotten with time, so nobody is left alone for ever."""
    clock = FakeClock(auto_advance=True)
    async with serving(clock=clock, models=alias("latency")) as world:
        world.alpha.will_answer("slow", delay=10.0)
        world.beta.will_answer("quick", delay=1.0)
        assert [await asked(world) for _ in range(2)] == ["alpha", "beta"]
        for _ in range(20):
            world.beta.will_answer("quick", delay=1.0)
        assert {await asked(world) for _ in range(20)} == {"beta"}
        await clock.advance(500.0)
        world.beta.will_answer("quick", delay=1.0)
        assert "alpha" in [await asked(world) for _ in range(2)]


async def test_what_was_measured_survives_an_edit() -> None:
    """A new alias does not make everybody start from nothing."""
    async with serving(models=alias("latency")) as world:
        await asked(world)
        before = traffic(world, "alpha")
        assert before.latency.read(0.0) is not None
        result = await world.manager.replace(_edited(world))
        assert result.status == "applied", result.errors
        assert traffic(world, "alpha") is before


def _edited(world: World) -> dict[str, Any]:
    providers = {
        name: {"type": "scripted", "script": script.name, "models": ["m"]} for name, script in world.scripts.items()
    }
    return {"llm_service": {"providers": providers, "models": {**alias("latency"), "y": {"use": BOTH}}}}


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    """It is in flight no more, and its length is no measurement."""
    async with serving(models=alias("least_in_flight")) as world:
        gates = [world.alpha.will_hold(), world.beta.will_hold()]
        tasks = [asyncio.create_task(asked(world)) for _ in range(2)]
        for gate in gates:
            await asyncio.wait_for(gate.reached(), 10)
        assert (traffic(world, "alpha").in_flight, traffic(world, "beta").in_flight) == (1, 1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in ("alpha", "beta"):
            assert traffic(world, name).in_flight == 0
            assert traffic(world, name).latency.read(0.0) is None
            assert traffic(world, name).errors.read(0.0) is None


async def test_calls_are_not_measured_where_nobody_asks() -> None:
    """An ordered alias costs what it always did."""
    async with serving(models=alias("weighted")) as world:
        await asked(world)
        assert traffic(world, "alpha").errors.read(0.0) is None


async def test_the_status_of_a_provider_shows_what_was_measured() -> None:
    """And nothing about models to which no call was sent."""
    clock = FakeClock(auto_advance=True)
    async with serving(clock=clock, models=alias("latency"), default_model="x") as world:
        world.alpha.will_answer("slow", delay=2.0)
        await asked(world)
        status = world.service.get_provider_status()
        found = status["alpha"].models["m"]
        assert (found.in_flight, found.latency, found.first_token, found.error_rate) == (0, 2.0, None, 0.0)
        assert status["beta"].models == {}


async def test_the_trace_says_why_the_order_is_this_one() -> None:
    """On the answer, in words."""
    async with serving(models=alias("least_in_flight")) as world:
        response = await world.service.generate("hi", model="x")
        assert response.trace is not None
        assert response.trace.how == "alias 'x' (least_in_flight)"
        assert "alpha/m: 0 in flight" in "".join(response.trace.notes)
        assert "alias 'x' (least_in_flight)" in response.trace.describe()
        assert (await world.service.generate("hi")).trace.how == "'alpha/m' names provider 'alpha' and its model 'm'"  # type: ignore[union-attr]  # just seen


async def test_an_alias_that_admits_nobody_says_so() -> None:
    """Nothing is sent; the error has every reason."""
    async with serving(models={"x": {"use": BOTH, "where": {"min_context_window": 1000}, "fallback": []}}) as world:
        with pytest.raises(UnsupportedFeature, match="alpha/m is left out: its context window is not known"):
            await asked(world)
        explained = world.service.explain("hi", model="x")
        assert (explained.first, len(explained.notes)) == (None, 2)
        (found,) = [model for model in world.service.get_available_models() if model.name == "x"]
        assert not found.available
        assert "beta/m is left out" in found.reason
        (warning,) = world.manager.status.warnings
        assert warning.path == "models.x.where"
        assert "alpha/m is left out: its context window is not known" in warning.message


async def test_a_strategy_of_the_hosts_own_is_trusted_with_the_order_and_nothing_else() -> None:
    """Where it fails the call goes on, and the log says so once."""
    lines: list[str] = []
    handler = logger.add(lambda line: lines.append(str(line)), level="WARNING", format="{message}")
    try:
        broken = {"mine": lambda candidates, view, rng: candidates[5]}
        async with serving(models=alias("mine"), strategies=broken) as world:
            responses = [await world.service.generate("hi", model="x") for _ in range(3)]
    finally:
        logger.remove(handler)
    assert [response.provider for response in responses] == ["alpha"] * 3
    assert all("raised IndexError" in "".join(response.trace.notes) for response in responses if response.trace)
    assert sum("raised IndexError" in line for line in lines) == 1


async def test_the_loaded_model_is_preferred_and_the_other_one_asked_for() -> None:
    """The runtime is told who would have been chosen."""
    local = {name: {"type": "scripted_host"} for name in ("alpha", "beta")}
    async with serving(models=alias("prefer_loaded"), providers=local) as world:
        state = world.holder.current.state
        wanted: list[ModelRef] = []
        loaded: dict[str, bool | None] = {"alpha": False, "beta": None}
        state.is_loaded = lambda ref: loaded[ref.provider]
        state.want_loaded = wanted.append
        world.service.explain("hi", model="x")
        assert wanted == []
        assert await asked(world) == "beta"
        assert wanted == [ModelRef("alpha", "m")]
        loaded["alpha"] = True
        assert (await asked(world), len(wanted)) == ("alpha", 1)


async def test_a_stream_may_be_explained_differently() -> None:
    """What counts for it is the first output."""
    async with serving(models=alias("first_token")) as world:
        now = world.holder.current.state.clock.monotonic()
        for name, whole, first in (("alpha", 1.0, 0.5), ("beta", 9.0, 0.1)):
            traffic(world, name).answered(whole, now)
            traffic(world, name).began(first, now)
        assert world.service.explain("hi", model="x").first == ModelRef("alpha", "m")
        assert world.service.explain("hi", stream=True, model="x").first == ModelRef("beta", "m")
        async with world.service.stream("hi", model="x") as stream:
            assert (await stream.response()).provider == "beta"


async def test_who_rests_is_asked_last() -> None:
    """The trace names it."""
    async with serving(models=alias("round_robin")) as world:
        world.alpha.will_raise(ProviderError("rate_limit", "slow down", retry_after=60.0))
        assert await asked(world) == "beta"
        assert {await asked(world) for _ in range(4)} == {"beta"}
        response = await world.service.generate("hi", model="x")
        assert response.trace is not None
        assert any("nothing would be sent there now: alpha/m" in note for note in response.trace.notes)


def requests_of(world: World) -> dict[str, int]:
    """How many requests each provider has got."""
    return {name: len(script.requests) for name, script in world.scripts.items()}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    strategy=st.sampled_from(sorted(get_args(BuiltInStrategy))),
    sticky=st.sampled_from([None, None, "user", "prompt"]),
    user=st.sampled_from([None, "ada", "bob"]),
    stream=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_the_explained_candidate_is_the_first_hop_for_every_strategy(
    strategy: str, sticky: str | None, user: str | None, stream: bool, seed: int
) -> None:
    """On a frozen snapshot: whatever has been measured, whoever rests, whatever is drawn by lot."""
    asyncio.run(_explained(strategy, sticky, user, stream, seed))


async def _explained(strategy: str, sticky: str | None, user: str | None, stream: bool, seed: int) -> None:
    drawn = random.Random(seed)
    options: dict[str, Any] = {"strategy": strategy, "fallback": [], "sticky_by": sticky}
    if strategy == "sticky" and sticky is None:
        options["sticky_by"] = "user"
    options["use"] = [{"model": f"{name}/m", "weight": drawn.choice([0.5, 1, 3])} for name in THREE]
    clock = FakeClock()
    windows = {name: {"models": {"m": {"context_window": drawn.choice([100, 10_000])}}} for name in THREE}
    if drawn.random() < 0.3:
        options["where"] = {"min_context_window": 1000}
    async with serving(*THREE, clock=clock, seed=seed, models={"x": options}, providers=windows) as world:
        for name in THREE:
            seen, now = traffic(world, name), clock.monotonic()
            seen.in_flight = drawn.randint(0, 3)
            if drawn.random() < 0.7:
                seen.answered(drawn.random(), now)
                seen.began(drawn.random(), now)
            if drawn.random() < 0.3:
                upstream = world.holder.current.state.upstream(name)
                for _ in range(10):
                    upstream.breaker.failed(now, drawn, "call")
        await clock.advance(drawn.choice([0.0, 1.0]))
        explained = world.service.explain("hello there", stream=stream, model="x", user=user)
        before = requests_of(world)
        try:
            if stream:
                async with world.service.stream("hello there", model="x", user=user) as events:
                    await events.response()
            else:
                await world.service.generate("hello there", model="x", user=user)
        except LLMError:
            assert explained.first is None, explained
        sent = [name for name, count in requests_of(world).items() if count > before[name]]
        assert sent == ([explained.first.provider] if explained.first else []), explained
