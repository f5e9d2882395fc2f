"""What a breaker remembers of the attempts before, and what routing sees of it without asking for an attempt."""

import random

import pytest

from core.llm.pipeline.breaker import Breaker
from core.llm.providers.config.models.limits import SlowCallOptions

RNG = random.Random(0)


def fail(state: Breaker, now: float) -> bool:
    """One attempt that is admitted and fails; whether that opened it."""
    admission = state.admit(now)
    assert admission is not None
    return state.failed(now, RNG, admission)


def answer(state: Breaker, now: float) -> None:
    """One attempt that is admitted and answered."""
    admission = state.admit(now)
    assert admission is not None
    state.succeeded(now, admission)


def outage(state: Breaker, now: float) -> None:
    """Three failures in a row."""
    assert [fail(state, now) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("before", ["FS" * 20, "F" + "S" * 2], ids=["one in two", "one of three"])
def test_F90_who_failed_often_before_is_left_alone_only_after_ten_failures_in_a_row(before: str) -> None:
    """Every attempt counts for that, answered or not, also the first few."""
    state = Breaker()
    # Far enough apart that the share of failures within half a minute says nothing.
    for number, end in enumerate(before):
        fail(state, 10.0 * number) if end == "F" else answer(state, 10.0 * number)
    now = 10.0 * len(before)
    assert [fail(state, now) for _ in range(10)] == [False] * 9 + [True]


def test_an_attempt_from_before_the_outage_that_fails_late_disproves_no_probe() -> None:
    """It was sent to the provider as it was then."""
    state = Breaker()
    assert state.admit(0.0) == "call"
    outage(state, 0.0)
    now = state.open_until
    answer(state, now)
    assert state.state == "half_open"
    assert not state.failed(now, RNG, "call")
    for _ in range(2):
        answer(state, now)
    assert state.state == "closed"


def test_a_stream_beside_the_probes_that_breaks_for_its_own_model_disproves_none_of_them() -> None:
    """Whoever is told only to count it knows that somebody else is to blame."""
    state = Breaker()
    outage(state, 0.0)
    now = state.open_until
    assert state.admit(now) == "probe"
    state.began(now)
    assert not state.failed(now, RNG, "beside", may_open=False)
    assert state.state == "half_open"


def test_F92_a_new_outage_after_an_early_recovery_is_over_when_a_check_says_so() -> None:
    """What a failed probe has ruled out before holds no longer once the provider has come back."""
    state = Breaker()
    outage(state, 0.0)
    fail(state, 6.0)
    assert state.open_until > 30.0
    assert state.try_early(17.0)
    for _ in range(3):
        answer(state, 17.0)
    outage(state, 18.0)
    state.try_soon(19.0)
    assert not state.rests(19.0)


def test_the_same_holds_for_who_was_slow() -> None:
    """Too late an answer opens it, and a check that passes lets the next call find out."""
    state = Breaker()
    outage(state, 0.0)
    fail(state, 6.0)
    assert state.try_early(17.0)
    for _ in range(3):
        answer(state, 17.0)
    admission = state.admit(18.0)
    assert admission == "call"
    assert state.timed(18.0, RNG, admission, SlowCallOptions(calls=1, share=0.1), 5.0, late=True)
    assert 22.0 <= state.open_until <= 24.0
    state.try_soon(19.0)
    assert not state.rests(19.0)


def test_routing_sees_for_how_long_an_attempt_would_be_refused() -> None:
    """In each state, and without taking anybody's place."""
    state = Breaker()
    assert (state.rests(0.0), state.is_full(0.0), state.wait(0.0)) == (False, False, 0.0)
    outage(state, 0.0)
    end = state.open_until
    assert (state.rests(end - 1.0), state.is_full(end - 1.0)) == (True, False)
    assert state.wait(end - 1.0) == pytest.approx(1.0)
    assert (state.rests(end), state.wait(end + 1.0)) == (False, 0.0)
    assert state.admit(end) == "probe"
    assert (state.rests(end), state.is_full(end), state.wait(end)) == (True, False, Breaker.PROBE_WAIT)
    state.succeeded(end, "probe")
    assert (state.rests(end), state.wait(end)) == (False, 0.0)
    for _ in range(2):
        answer(state, end)
    assert (state.state, state.rests(end), state.is_full(end)) == ("closed", False, False)
    for _ in range(Breaker.RAMP_LEAST):
        assert state.admit(end) == "call"
    assert state.is_full(end)
    assert state.wait(end + 1.0) == pytest.approx(Breaker.RAMP - 1.0)
    assert not state.is_full(end + Breaker.RAMP)
