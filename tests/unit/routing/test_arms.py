"""What is remembered about the models of an alias, and how much of it."""

import random

import pytest

from core.llm.common.types import ModelRef
from core.llm.routing.arms import Arm, Experiments

M = ModelRef("p", "m")


def test_averages_are_those_of_what_was_reported() -> None:
    """Nothing is known before the first one."""
    arm = Arm()
    assert (arm.mean_score, arm.score_error, arm.mean_seconds, arm.mean_cost) == (None, None, None, None)
    for value in (0.0, 1.0, 1.0, 0.0):
        arm.score(value)
    arm.ended(1.0, 0.5)
    arm.ended(3.0, 0.1)
    assert (arm.mean_score, arm.mean_seconds, arm.mean_cost) == (0.5, 2.0, 0.3)
    assert arm.score_error == pytest.approx(0.2887, abs=1e-3)


def test_a_failed_call_is_an_outcome_of_zero_but_no_score() -> None:
    """The mean of the scores is what the host has said."""
    arm = Arm()
    arm.score(1.0)
    before = arm.expected()
    arm.broke()
    assert arm.expected() < before
    assert (arm.mean_score, arm.failed) == (1.0, 1)


@pytest.mark.parametrize(("value", "same"), [(7.0, 1.0), (-3.0, 0.0)])
def test_what_lies_outside_is_learnt_from_as_the_nearer_end(value: float, same: float) -> None:
    """A scale of one's own does no harm; the report keeps it."""
    one, other = Arm(), Arm()
    one.score(value)
    other.score(same)
    assert one.expected() == other.expected()
    assert one.mean_score == value


def test_a_model_that_becomes_worse_is_found_out() -> None:
    """Thousands of good outcomes do not outweigh the latest five hundred."""
    arm = Arm()
    for _ in range(20_000):
        arm.score(1.0)
    for _ in range(1500):
        arm.score(0.0)
    assert arm.expected() < 0.2


def test_draws_differ_the_less_is_known() -> None:
    """And come from the source that is handed in."""
    new, known = Arm(), Arm()
    for _ in range(200):
        known.score(0.5)
    rng = random.Random(1)
    draws = [new.drawn(rng) for _ in range(200)], [known.drawn(rng) for _ in range(200)]
    assert max(draws[0]) - min(draws[0]) > 3 * (max(draws[1]) - min(draws[1]))
    assert Arm().drawn(random.Random(5)) == Arm().drawn(random.Random(5))


def test_S63_calls_aliases_and_models_are_bounded() -> None:
    """The oldest go first."""
    known = Experiments()
    for number in range(10_100):
        known.answered(f"c{number}", "a", M, 1.0, 0.0)
    assert len(known) == 10_000
    assert known.find("c99") is None
    assert known.find("c100") == ("a", M)
    for number in range(300):
        known.arm("b", ModelRef("p", str(number)))
        known.arm(f"alias {number}", M)
    assert len(known.arms("b")) <= 256
    assert known.arms("a") == {}
