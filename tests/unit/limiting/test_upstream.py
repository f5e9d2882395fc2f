"""The limits of one provider across configurations, keys and models."""

from functools import partial

import pytest

from core.llm.limiting.queue import Lane
from core.llm.limiting.quota import Quota
from core.llm.limiting.upstream import LimitStatus, UpstreamLimits, is_limited
from core.llm.providers.config.models.limits import QuotaOptions, RateLimitOptions
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.testing import FakeClock

START = 1000.0


def config(models: dict[str, dict[str, object]] | None = None, **limits: object) -> ProviderConfig:
    """A provider with *limits*, and models with theirs."""
    return ProviderConfig.model_validate({"rate_limits": limits, "models": models or {}})


def lane(state: UpstreamLimits, options: ProviderConfig, key: str = "", model: str = "m") -> Lane:
    """The lane for calls with *key* to *model*."""
    entry = options.models.get(model)
    own = entry.rate_limits if entry is not None else None
    return Lane(state.dimensions((key, model), options.rate_limits, own, START))


def left(state: UpstreamLimits, name: str, now: float = START) -> float:
    """What is left of the limit called *name*."""
    (found,) = [each for each in state.status(now).limits if each.name == name]
    return found.left


def test_a_reload_does_not_reset_what_was_used() -> None:
    """The new limit counts the calls that were made under the old one."""
    state, old = UpstreamLimits(), config(requests_per_minute=60)
    for _ in range(10):
        assert lane(state, old).reserve((1.0, 0, 0, 0), START)
    new = config(requests_per_minute=15)
    state.configure(new, {""}, START)
    assert left(state, "requests_per_minute") == 5
    again = lane(state, new)
    assert again.dimensions[1] is lane(state, new).dimensions[1]


def test_a_limit_that_was_taken_out_is_gone() -> None:
    """It shows neither in the status nor in the headroom."""
    state, old = UpstreamLimits(), config(requests_per_minute=1)
    lane(state, old).reserve((1.0, 0, 0, 0), START)
    assert state.headroom(START) == 0.0
    state.configure(config(), {""}, START)
    assert state.headroom(START) == 1.0
    assert state.status(START).limits == ()


def test_each_key_has_quotas_of_its_own_and_those_of_a_removed_key_are_forgotten() -> None:
    """One key at its limit says nothing about the other."""
    state, options = UpstreamLimits(), config(requests_per_minute=1)
    assert lane(state, options, "k1").reserve((1.0, 0, 0, 0), START)
    assert not lane(state, options, "k1").reserve((1.0, 0, 0, 0), START)
    assert lane(state, options, "k2").reserve((1.0, 0, 0, 0), START)
    state.configure(options, {"k2"}, START)
    assert [each.key for each in state.status(START).limits] == ["k2"]


def test_a_model_has_limits_on_top_of_those_of_all() -> None:
    """The second call to the small model waits; the third of all waits too."""
    options = config({"small": {"rate_limits": {"requests_per_minute": 1}}}, requests_per_minute=2, burst="60s")
    state = UpstreamLimits()
    assert lane(state, options, model="small").reserve((1.0, 0, 0, 0), START)
    assert not lane(state, options, model="small").reserve((1.0, 0, 0, 0), START)
    assert lane(state, options, model="other").reserve((1.0, 0, 0, 0), START)
    assert not lane(state, options, model="other").reserve((1.0, 0, 0, 0), START)


def test_headroom_is_that_of_the_best_key_and_of_the_model_that_is_asked_for() -> None:
    """Routing sends where most can be sent."""
    options = config({"small": {"rate_limits": {"requests_per_minute": 1}}}, requests_per_minute=60)
    state = UpstreamLimits()
    for _ in range(5):
        lane(state, options, "k1").reserve((1.0, 0, 0, 0), START)
    lane(state, options, "k2", "small").reserve((1.0, 0, 0, 0), START)
    assert state.headroom(START) == pytest.approx(0.9)
    assert state.headroom(START, "small") == pytest.approx(0.5)
    lane(state, options, "k1").reserve((1.0, 0, 0, 0), START)
    assert 0.0 <= state.headroom(START, "small") < 0.5


def test_where_calls_wait_there_is_no_headroom() -> None:
    """Whatever the counters say."""
    state, options = UpstreamLimits(), config(max_concurrency=1)
    state.queue.add(lane(state, options), (1.0, 0, 0, 0), lambda: None)
    assert state.headroom(START) == 0.0
    assert state.status(START).queued == 1


def test_the_status_shows_each_limit_with_what_is_left() -> None:
    """For `get_provider_status`."""
    state, options = UpstreamLimits(), config(requests_per_minute=60, max_concurrency=4)
    lane(state, options, "k1").reserve((1.0, 0, 0, 0), START)
    status = state.status(START)
    assert (status.in_flight, status.queued, status.adaptive_concurrency) == (1, 0, None)
    assert status.limits == (
        LimitStatus("requests_per_minute", 60, 59, "k1"),
        LimitStatus("max_concurrency", 4, 3, "k1"),
    )


def test_a_limit_the_provider_named_is_counted_until_headers_are_to_be_ignored() -> None:
    """It survives reloads that say nothing about it, and is replaced by one that is configured."""
    state, options = UpstreamLimits(), config()
    assert state.learn(("", "m"), "requests_per_minute", 30, 0, START)
    assert not state.learn(("", "m"), "requests_per_fortnight", 30, 0, START)
    state.configure(options, {""}, START)
    (learnt,) = state.status(START).limits
    assert (learnt.limit, learnt.model, learnt.learnt) == (30, "m", True)
    assert not lane(state, options).reserve((1.0, 0, 0, 0), START)
    written = config({"m": {"rate_limits": {"requests_per_minute": 40}}})
    state.configure(written, {""}, START)
    (found,) = state.status(START).limits
    assert (found.limit, found.learnt) == (40, False)
    state.learn(("", "other"), "requests_per_minute", 30, 0, START)
    state.configure(config(headers="ignore"), {""}, START)
    assert state.status(START).limits == ()


def test_an_adaptive_limit_ends_where_it_is_switched_off() -> None:
    """The edit that says `adaptive_concurrency: false` helps at once."""
    state = UpstreamLimits()
    state.adaptive.take(1, START)
    state.adaptive.overloaded(START)
    assert state.status(START).adaptive_concurrency == 1.0
    state.configure(config(adaptive_concurrency=False), {""}, START)
    assert state.status(START).adaptive_concurrency is None


async def test_the_queue_looks_again_when_the_next_turn_comes_and_leaves_no_timer_behind() -> None:
    """One timer for all who wait, and none once nobody does."""
    clock, state = FakeClock(START), UpstreamLimits()
    options = config(requests_per_minute=60, burst="1s")
    row = lane(state, options)
    woken: list[tuple[int, float]] = []

    def wake(number: int) -> None:
        woken.append((number, clock.elapsed()))

    assert row.reserve((1.0, 0, 0, 0), START)
    for number in range(3):
        state.queue.add(row, (1.0, 0, 0, 0), partial(wake, number))
    state.advance(clock)
    assert clock.pending == 1
    await clock.advance(5)
    assert [number for number, _ in woken] == [0, 1, 2]
    assert [at for _, at in woken] == pytest.approx([1.0, 2.0, 3.0], abs=0.01)
    assert clock.pending == 0


def test_what_is_limited_is_seen() -> None:
    """The layer is left out where nothing is."""
    assert not is_limited(None)
    assert not is_limited(RateLimitOptions())
    assert is_limited(QuotaOptions(tokens_per_day=5))
    assert is_limited(QuotaOptions(max_concurrency=5))


def test_a_day_is_not_paced_and_a_minute_is() -> None:
    """`burst` is a share of a minute."""
    state, options = UpstreamLimits(), config(requests_per_minute=60, requests_per_day=60, burst="30s")
    _, minute, day = lane(state, options).dimensions
    assert isinstance(minute, Quota)
    assert isinstance(day, Quota)
    assert (minute.capacity, day.capacity) == (30, 60)
