"""As configured, in turn, by weight."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from core.llm.routing.strategies.order import ordered, round_robin, weighted
from tests.unit.routing.seen import a_view, candidates, names


def test_ordered_leaves_everything_as_it_is() -> None:
    """Whatever was measured."""
    assert names(ordered(candidates(in_flight=[9, 0, 3]), a_view(), random.Random(0))) == "abc"


def test_round_robin_gives_everybody_the_same_number_of_calls() -> None:
    """The others follow in their order."""
    given_out = [
        names(round_robin(candidates(weight=[1, 1, 1]), a_view(turn=turn), random.Random(0))) for turn in range(7)
    ]
    assert given_out[:4] == ["abc", "bca", "cab", "abc"]
    assert Counter(order[0] for order in given_out) == {"a": 3, "b": 2, "c": 2}


def test_weights_decide_how_often_a_model_comes_first() -> None:
    """Three to one is three to one, within five standard deviations of ten thousand draws; zero comes last."""
    rng, some = random.Random(5), candidates(weight=[3, 1, 0])
    orders = [names(weighted(some, a_view(), rng)) for _ in range(10_000)]
    assert abs(sum(order[0] == "a" for order in orders) - 7500) < 220
    assert all(order[2] == "c" for order in orders)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6), st.integers(0, 1000))
def test_a_weighted_order_holds_every_model_once(weights: list[float], seed: int) -> None:
    """Nobody is lost, whatever the weights."""
    order = weighted(candidates(weight=weights), a_view(), random.Random(seed))
    assert sorted(names(order)) == list("abcdef"[: len(weights)])
