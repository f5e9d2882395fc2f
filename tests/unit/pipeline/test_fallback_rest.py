"""Who rests, has no time left or costs too much is passed over without an attempt, and the trace says why."""

from decimal import Decimal
from typing import Any

import pytest

from core.llm.common.exceptions import AllAttemptsFailed, BudgetExceeded, ProviderError, RateLimited
from core.llm.common.types import Price
from core.llm.pipeline.backoff import NEXT_KEY, judge
from core.llm.pipeline.candidates import Resting
from core.llm.pipeline.resting import resting
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.models.service import RetryOptions
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import Scripted, a_call, an_error, answered
from tests.unit.pipeline.test_fallback import World, failing
from tests.unit.pipeline.test_fallback_reasons import tried

BROKEN = Resting("left alone for 9 s more", 9.0, broken=True)


def asked_to_wait(seconds: float) -> Resting:
    """A provider that wants to be left alone for a while."""
    return Resting(f"rests for {seconds:g} s more", seconds, broken=False)


async def test_a_candidate_whose_breaker_is_open_costs_no_attempt_where_others_are_left() -> None:
    """All attempts of the call are there for those who may answer."""
    world = World(*[Scripted("never") for _ in range(3)], failing(), Scripted("fifth"), attempts=2)
    for name in ("p1", "p2", "p3"):
        world.rest[name] = BROKEN
    call = a_call()
    assert (await answered(world.handler, call)).content == "fifth"
    assert [outcome for _, outcome in tried(call)] == ["skipped", "skipped", "skipped", "failed", "answered"]
    assert call.trace.candidates[0].reason == "left alone for 9 s more"
    assert len(call.trace.attempts) == 2


async def test_F92_where_every_breaker_is_open_one_error_says_when_the_first_probe_is_due() -> None:
    """Nobody is asked, so that it is known at once."""
    world = World(Scripted("a"), Scripted("b"))
    world.rest = {"p1": BROKEN, "p2": BROKEN._replace(wait=4.0, reason="left alone for 4 s more")}
    call = a_call()
    error = await world.failure(call)
    assert isinstance(error, ProviderError)
    assert (error.type, error.code, error.retry_after, error.retryable) == ("overloaded", "all_open", 4.0, True)
    assert "p1/m: skipped: left alone for 9 s more" in str(error)
    assert call.trace.attempts == []
    assert sum(script.calls for script in world.scripts) == 0


async def test_F92_now_and_then_one_call_finds_out_although_everybody_rests() -> None:
    """Whoever may be asked before the time is, when nobody else is left."""
    world = World(Scripted("a"), Scripted("b"))
    world.rest = {"p1": BROKEN, "p2": BROKEN}
    world.wakes = {"p2"}
    assert (await answered(world.handler, a_call())).content == "b"


async def test_F92_those_who_rest_are_part_of_the_wait_that_a_failed_chain_reports() -> None:
    """The shortest of all, whoever it comes from."""
    world = World(failing("rate_limit", retry_after=50.0), Scripted("never"))
    world.rest["p2"] = BROKEN
    error = await world.failure()
    assert isinstance(error, AllAttemptsFailed)
    assert error.retry_after == 9.0
    assert [reason for _, reason in error.skipped] == ["left alone for 9 s more"]


async def test_whoever_asked_to_wait_comes_last_and_the_shortest_wait_first() -> None:
    """They may still answer in time."""
    world = World(Scripted(an_error()), Scripted("waits 9"), Scripted("waits 5"))
    world.rest = {"p2": asked_to_wait(9.0), "p3": asked_to_wait(5.0)}
    assert (await answered(world.handler, a_call())).content == "waits 5"


async def test_a_single_candidate_is_asked_whatever_is_known_about_it() -> None:
    """Its own layers say what is the matter."""
    world = World(Scripted("answer"))
    world.rest["p1"] = BROKEN
    assert (await answered(world.handler, a_call())).content == "answer"


@pytest.mark.parametrize("error", [RateLimited("queue full"), an_error("overloaded", code="circuit_open")])
async def test_F88_a_refusal_of_our_own_is_no_attempt(error: Exception) -> None:
    """The next candidate has as many attempts as if nobody had been in front of it."""
    world = World(Scripted(error), Scripted(error), Scripted("third"), attempts=1)
    call = a_call()
    assert (await answered(world.handler, call)).content == "third"
    assert [outcome for _, outcome in tried(call)] == ["skipped", "skipped", "answered"]


async def test_G07_a_further_attempt_is_not_begun_with_too_little_time() -> None:
    """What could not end in time would only cost money; the reason is in the trace."""
    clock = FakeClock()

    async def slow(call: Any) -> Any:
        await clock.advance(9.7)
        raise an_error()

    world = World(Scripted(slow), Scripted("second"))
    error = await world.failure(a_call(clock=clock, seconds=10.0))
    assert isinstance(error, AllAttemptsFailed)
    assert "0.3 s are left" in error.skipped[0][1]
    assert world.scripts[1].calls == 0


async def test_a_first_attempt_is_begun_with_any_time_unless_the_model_is_known_to_be_slower() -> None:
    """A caller with little time goes to whoever can make it."""
    world = World(Scripted("slow"), Scripted("fast"))
    assert (await answered(world.handler, a_call(seconds=0.2))).content == "slow"
    world.slow["p1"] = 3.0
    call = a_call(seconds=0.2)
    assert (await answered(world.handler, call)).content == "fast"
    assert tried(call) == [("p1", "skipped"), ("p2", "answered")]


async def test_the_only_candidate_being_too_slow_is_a_timeout_before_anything_was_sent() -> None:
    """It says how long the model usually takes."""
    world = World(Scripted("slow"))
    world.slow["p1"] = 3.0
    error = await world.failure(a_call(seconds=0.2))
    assert isinstance(error, ProviderError)
    assert (error.type, error.code, error.retryable) == ("timeout", "no_time_left", False)
    assert "about 3 s" in error.message
    assert world.scripts[0].calls == 0


def priced(world: World, number: int, dollars: int) -> None:
    """Let a million tokens of that candidate cost *dollars*."""
    world.know(number, price=Price(Decimal(dollars), Decimal(dollars)))


async def test_S68_a_fallback_that_costs_more_than_the_limit_is_skipped_with_its_reason() -> None:
    """A failing cheap model does not make the call dearer than the caller allows."""
    world = World(failing(), Scripted("dear"), Scripted("cheap"))
    priced(world, 1, 1)
    priced(world, 2, 1000)
    priced(world, 3, 1)
    call = a_call(max_tokens=1000)
    call.cost_limit = Decimal("0.01")
    assert (await answered(world.handler, call)).content == "cheap"
    assert tried(call) == [("p1", "failed"), ("p2", "skipped"), ("p3", "answered")]
    assert "the limit of this call is 0.01" in call.trace.candidates[1].reason


async def test_S67_a_call_that_may_cost_too_much_everywhere_is_never_sent() -> None:
    """One error of its own, whether there is one candidate or more."""
    for count in (1, 2):
        world = World(*[Scripted("dear") for _ in range(count)])
        for number in range(1, count + 1):
            priced(world, number, 1000)
        call = a_call(max_tokens=1000)
        call.cost_limit = Decimal("0.01")
        assert isinstance(await world.failure(call), BudgetExceeded)
        assert sum(script.calls for script in world.scripts) == 0


def test_a_provider_rests_while_its_breaker_is_open_or_all_its_keys_wait() -> None:
    """A short wait is no reason to go elsewhere."""
    config, clock = ProviderConfig.model_validate({"api_key": "k"}), FakeClock()
    now = clock.monotonic()
    upstream = Upstream(now)
    assert resting(upstream, config, "m", now) is None
    upstream.failed(an_error("rate_limit"), clock.now(), now)
    upstream.keys.of("k").rest(now + 30.0, "the provider asked to wait", "rate_limit")
    found = resting(upstream, config, "m", now)
    assert found is not None
    assert (found.broken, found.wait) == (False, 30.0)
    assert resting(upstream, config, "m", now + 29.5) is None
    breaker = upstream.breaker
    while not breaker.rests(now):
        admission = breaker.admit(now)
        assert admission is not None
        breaker.failed(now, a_call().rng, admission)
    found = resting(upstream, config, "m", now)
    assert found is not None
    assert found.broken
    assert 0 < found.wait < 60


@pytest.mark.parametrize(("left", "again"), [(0.4, False), (0.6, True)])
def test_G07_a_retry_is_not_begun_with_too_little_time_either(left: float, again: bool) -> None:
    """Also not one that would follow at once, with another key."""
    for error in (an_error(), an_error(code=NEXT_KEY)):
        verdict = judge(
            error,
            RetryOptions(initial_delay=0.001, max_delay=0.001),
            retries=0,
            free=True,
            max_retries=2,
            remaining=left,
            alternatives=False,
            rng=a_call().rng,
            useful=0.5,
        )
        assert (verdict.delay is not None) is again
