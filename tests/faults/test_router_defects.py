"""Known defects of routers in wide use, by the numbers of their reports: retries, cool-downs, key choice, fallback.

What is left out here, and where it is tested instead, stands in `test_router_defects_table.py`.
"""

import asyncio

import pytest
from pydantic import BaseModel

from core.llm import AttemptFailed
from core.llm.common.exceptions import AllAttemptsFailed, LLMError, ProviderError
from core.llm.testing import EventRecorder, FakeClock
from tests.unit.llm.support import serving

CHAIN = {"chain": {"use": "alpha/m", "fallback": ["beta/m"]}, "alone": {"use": "alpha/m", "fallback": []}}


class Point(BaseModel):
    """What an object is asked for as."""

    x: int


async def finished(clock, call):
    """The result of *call*, on a clock that is moved until it has one."""
    task = asyncio.ensure_future(call)
    await clock.settle()
    while not task.done():
        await clock.advance(0.05)
    return await task


@pytest.mark.parametrize("issue", [pytest.param(40130, id="40130")])
@pytest.mark.parametrize("hints", [(60.0, 2.0), (2.0, 60.0)])
async def test_a_second_cool_down_never_ends_before_the_first(issue, hints):
    """Two calls in flight are told to wait a minute and two seconds: nobody is sent for a minute."""
    clock = FakeClock()
    async with serving(clock=clock, models=CHAIN) as world:
        for hint in hints:
            world.alpha.will_raise(ProviderError("rate_limit", "slow down", retry_after=hint), delay=0.1)
        calls = [asyncio.ensure_future(world.service.generate("hi", model="chain")) for _ in hints]
        await clock.advance(1.0)
        assert {(await call).provider for call in calls} == {"beta"}
        sent = len(world.alpha.requests)
        while clock.elapsed() < 60.0:
            assert (await finished(clock, world.service.generate("hi", model="chain"))).provider == "beta"
            await clock.advance(5.0)
        assert len(world.alpha.requests) == sent
        await clock.advance(2.0)
        assert (await finished(clock, world.service.generate("hi", model="chain"))).provider == "alpha"


@pytest.mark.parametrize("issue", [pytest.param(27362, id="27362-27610"), pytest.param(34836, id="34836")])
async def test_a_host_that_cannot_be_reached_or_only_fails_is_left_alone(issue, no_leaks, closed_port):
    """Connection errors and 5xx count, at once and without a sweep: after three nothing more is tried."""
    unreachable = {"alpha": {"type": "openai_compatible", "base_url": f"http://127.0.0.1:{closed_port}/v1"}}
    names = ["beta"] if issue == 27362 else ["alpha", "beta"]
    providers = unreachable if issue == 27362 else {}
    async with serving(*names, default_model="beta/m", providers=providers, models=CHAIN) as world:
        if issue == 34836:
            for _ in range(10):
                world.alpha.will_raise(ProviderError("server_error", "down", status_code=503))
        failed = EventRecorder(world.events)
        for _ in range(10):
            assert (await world.service.generate("hi", model="chain")).provider == "beta"
        tried = [one.attempt for one in failed.of(AttemptFailed) if "not sent" not in (one.attempt.error or "")]
        assert len(tried) == 3
        assert world.service.get_provider_status()["alpha"].state == "open"


@pytest.mark.parametrize("issue", [pytest.param(3646, id="3646")])
async def test_where_everybody_rests_for_a_moment_the_call_waits_for_the_first(issue):
    """All deployments cooling down is no failure while the deadline allows to wait."""
    clock = FakeClock()
    async with serving(clock=clock, models=CHAIN, retries=2) as world:
        world.alpha.will_raise(ProviderError("rate_limit", "slow down", retry_after=5.0))
        world.beta.will_raise(ProviderError("rate_limit", "slow down", retry_after=2.0))
        began = clock.elapsed()
        first = await finished(clock, world.service.generate("hi", model="chain"))
        second = await finished(clock, world.service.generate("hi", model="chain"))
        assert first.provider == second.provider == "beta"
        assert 2.0 <= clock.elapsed() - began <= 3.5


@pytest.mark.parametrize("issue", [pytest.param(7669, id="7669")])
async def test_a_hint_is_waited_out(issue):
    """The second request leaves no earlier than the provider said, and little later."""
    clock = FakeClock()
    async with serving(clock=clock, models=CHAIN, retries=2) as world:
        world.alpha.will_raise(ProviderError("rate_limit", "slow down", retry_after=7.0))
        began = clock.elapsed()
        assert (await finished(clock, world.service.generate("hi", model="alone"))).provider == "alpha"
        assert 7.0 <= clock.elapsed() - began <= 8.1
        assert len(world.alpha.requests) == 2


@pytest.mark.parametrize("issue", [pytest.param(0, id="34129-25285")])
@pytest.mark.parametrize("retries", [0, 1, 2, 3])
@pytest.mark.parametrize("mode", ["generate", "stream", "object"])
async def test_layers_of_retries_do_not_multiply(issue, retries, mode):
    """One call makes 1 + N requests, whichever way it is made; with a fallback behind it, never more than allowed."""
    clock = FakeClock()
    models = {**CHAIN, "deep": {"use": "alpha/m", "fallback": ["beta/m", "gamma/m", "delta/m"]}}
    async with serving("alpha", "beta", "gamma", "delta", clock=clock, models=models, retries=retries) as world:
        for script in world.scripts.values():
            for _ in range(30):
                # A rate limit, because the breaker ends a series of other failures even sooner.
                script.will_raise(ProviderError("rate_limit", "slow down"))

        async def call(model):
            if mode == "stream":
                return [event async for event in world.service.stream_generate("hi", model=model)]
            if mode == "object":
                return await world.service.generate_object("hi", Point, model=model)
            return await world.service.generate("hi", model=model)

        with pytest.raises(ProviderError):
            await finished(clock, call("alone"))
        assert len(world.alpha.requests) == 1 + retries
        await clock.advance(60.0)
        before = sum(len(script.requests) for script in world.scripts.values())
        with pytest.raises(AllAttemptsFailed):
            await finished(clock, call("deep"))
        after = sum(len(script.requests) for script in world.scripts.values())
        assert after - before <= 5


@pytest.mark.parametrize("issue", [pytest.param(25504, id="25504")])
async def test_what_cools_down_is_visible(issue):
    """The status names the model and the key, the reason, and how long."""
    clock = FakeClock()
    async with serving(clock=clock, providers={"alpha": {"api_keys": ["k1-secret", "k2-secret"]}}) as world:
        world.alpha.will_raise(ProviderError("rate_limit", "slow down", retry_after=30.0))
        await finished(clock, world.service.generate("hi"))
        status = world.service.get_provider_status()["alpha"]
        assert status.state == "degraded"
        assert "for model m: rests for 30 s more" in status.reason
        assert "secret" not in str(status)


@pytest.mark.parametrize("issue", [pytest.param(40406, id="40406")])
@pytest.mark.parametrize("kind", ["content_filter", "invalid_request"])
async def test_a_refusal_is_not_routed_around(issue, kind):
    """Neither a safety block nor a wrong request is tried elsewhere."""
    async with serving(models=CHAIN) as world:
        world.alpha.will_raise(ProviderError(kind, "no"))
        with pytest.raises(LLMError):
            await world.service.generate("hi", model="chain")
        assert len(world.beta.requests) == 0


@pytest.mark.parametrize("issue", [pytest.param(3023, id="pydantic-ai-3023")])
async def test_a_dead_primary_is_not_tried_first_on_each_request(issue):
    """A hundred calls cost it three requests."""
    clock = FakeClock()
    async with serving(clock=clock, models=CHAIN) as world:
        for _ in range(100):
            world.alpha.will_raise(ProviderError("server_error", "down"))
        for _ in range(100):
            assert (await world.service.generate("hi", model="chain")).provider == "beta"
        assert len(world.alpha.requests) == 3
