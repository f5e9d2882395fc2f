"""By load, by speed, by limits."""

import random
from typing import Any

import pytest

from core.llm.routing.strategies.load import headroom, least_in_flight
from core.llm.routing.strategies.speed import first_token, latency, says_first_token, says_latency
from tests.unit.routing.seen import a_candidate, a_view, candidates, names

RNG = random.Random(0)


def test_of_two_the_less_loaded_is_first() -> None:
    """Whichever is drawn first."""
    for seed in range(20):
        order = least_in_flight(candidates(in_flight=[3, 1]), a_view(), random.Random(seed))
        assert names(order) == "ba"


def test_the_most_loaded_of_three_is_never_first() -> None:
    """Two are drawn, and one of them is less loaded; the others follow by their load."""
    some = candidates(in_flight=[5, 1, 2])
    orders = {names(least_in_flight(some, a_view(), random.Random(seed))) for seed in range(50)}
    assert orders == {"bca", "cba"}


def test_equally_loaded_models_share_by_lot() -> None:
    """The first one in the file is not first for everybody."""
    some = candidates(in_flight=[0, 0, 0])
    firsts = {names(least_in_flight(some, a_view(), random.Random(seed)))[0] for seed in range(50)}
    assert firsts == {"a", "b", "c"}


def test_a_model_that_fails_at_once_does_not_look_idle() -> None:
    """Its calls end quickly because they fail."""
    some = candidates(in_flight=[0, 3], error_rate=[0.9, 0.0])
    assert names(least_in_flight(some, a_view(), RNG)) == "ba"


def test_latency_is_the_average_times_those_who_wait_for_it() -> None:
    """One second with five calls there is a longer wait than two seconds with one."""
    some = candidates(latency=[1.0, 2.0, 30.0], in_flight=[5, 1, 0])
    assert names(latency(some, a_view(), RNG)) == "bac"


def test_a_failing_model_is_slow_however_fast_it_fails() -> None:
    """A failed call is paid for with another one."""
    some = candidates(latency=[0.1, 1.0], error_rate=[0.95, 0.0])
    assert names(latency(some, a_view(), RNG)) == "ba"


def test_a_model_that_was_never_measured_is_tried_by_one_call() -> None:
    """Until that has ended it passes for one like the others, so the next call goes to the fastest."""
    some = candidates(latency=[1.0, None, 3.0], in_flight=[0, 0, 0])
    assert names(latency(some, a_view(), RNG)) == "bac"
    some = candidates(latency=[1.0, None, 3.0], in_flight=[0, 1, 0])
    assert names(latency(some, a_view(), RNG))[0] == "a"


def test_where_nothing_was_measured_the_configured_order_holds() -> None:
    """The first calls of a process."""
    for strategy in (latency, first_token):
        assert names(strategy(candidates(in_flight=[0, 0, 0]), a_view("stream"), RNG)) == "abc"


def test_first_token_counts_for_streams_and_the_whole_answer_for_the_others() -> None:
    """Who does not stream waits for the whole answer."""
    some = candidates(first_token=[0.5, 0.1], latency=[1.0, 9.0])
    assert names(first_token(some, a_view("stream"), RNG)) == "ba"
    assert names(first_token(some, a_view("generate"), RNG)) == "ab"


def test_headroom_puts_what_is_left_first() -> None:
    """Where it is the same, the order is the configured one."""
    assert names(headroom(candidates(headroom=[0.2, 1.0, 0.7, 1.0]), a_view(), RNG)) == "bdca"


@pytest.mark.parametrize(
    ("seen", "generated", "streamed"),
    [
        ({}, "not measured, 0 in flight", "not measured, 0 in flight"),
        ({"latency": 1.2345, "first_token": 0.5, "in_flight": 2}, "1.23 s, 2 in flight", "0.5 s, 2 in flight"),
    ],
)
def test_the_trace_says_what_was_seen(seen: dict[str, Any], generated: str, streamed: str) -> None:
    """The number that counted."""
    candidate = a_candidate(**seen)
    assert says_latency(candidate, a_view()) == generated == says_first_token(candidate, a_view())
    assert says_first_token(candidate, a_view("stream")) == streamed
