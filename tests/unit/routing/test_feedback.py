"""Goal 36: the strategy that learns which model is worth its time and money."""

import random
from collections import Counter
from collections.abc import Mapping

import pytest

from core.llm.common.types import ModelRef
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.models.experiments import BanditOptions
from core.llm.routing.arms import Arm
from core.llm.routing.feedback import bandit, says_worth
from core.llm.routing.snapshot import Candidate, RequestView

REFS = [ModelRef("p", name) for name in "abcd"]
CANDIDATES = [Candidate(ref) for ref in REFS]
VIEW = RequestView(LLMRequest(messages="hi"))


def simulate(
    quality: Mapping[str, float],
    *,
    seconds: Mapping[str, float] | None = None,
    cost: Mapping[str, float] | None = None,
    rounds: int = 2000,
    seed: int = 0,
    arms: dict[ModelRef, Arm] | None = None,
    **options: float,
) -> Counter[str]:
    """Who was first in the last quarter of *rounds* calls, each worth 1 with the probability of its model."""
    known: dict[ModelRef, Arm] = {} if arms is None else arms
    rng, world = random.Random(seed), random.Random(seed + 1000)
    order = bandit(lambda: known, BanditOptions(**options))
    chosen: Counter[str] = Counter()
    for number in range(rounds):
        ref = order(CANDIDATES[: len(quality)], VIEW, rng)[0].ref
        arm = known.setdefault(ref, Arm())
        arm.ended((seconds or {}).get(ref.model, 1.0), (cost or {}).get(ref.model, 0.0))
        arm.score(float(world.random() < quality[ref.model]))
        if number >= rounds * 3 // 4:
            chosen[ref.model] += 1
    return chosen


@pytest.mark.parametrize("seed", range(10))
def test_G36_it_converges_to_the_best_arm(seed: int) -> None:
    """Nine of ten calls go there in the end, whoever it is."""
    best = "abcd"[seed % 4]
    quality = {name: 0.75 if name == best else 0.45 for name in "abcd"}
    chosen = simulate(quality, seed=seed)
    assert chosen[best] / chosen.total() > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_G36_of_two_that_are_as_good_the_faster_one_is_chosen(seed: int) -> None:
    """Or the cheaper one."""
    quality = {"a": 0.7, "b": 0.7}
    fast = simulate(quality, seconds={"a": 10.0, "b": 1.0}, seed=seed, latency_weight=0.3)
    cheap = simulate(quality, cost={"a": 0.01, "b": 0.001}, seed=seed, cost_weight=0.3)
    assert fast["b"] / fast.total() > 0.8
    assert cheap["b"] / cheap.total() > 0.8


def test_G36_what_time_and_money_are_worth_is_configured() -> None:
    """With weights of zero only outcomes count."""
    quality = {"a": 0.8, "b": 0.6}
    chosen = simulate(quality, seconds={"a": 100.0, "b": 1.0}, latency_weight=0.0, cost_weight=0.0)
    assert chosen["a"] / chosen.total() > 0.9


def test_G36_a_model_that_becomes_the_best_is_found() -> None:
    """What was learnt loses weight."""
    arms: dict[ModelRef, Arm] = {}
    assert simulate({"a": 0.8, "b": 0.4}, arms=arms, rounds=1500).most_common(1)[0][0] == "a"
    assert simulate({"a": 0.1, "b": 0.7}, arms=arms, rounds=1500).most_common(1)[0][0] == "b"


def test_G36_frozen_it_explores_no_more_and_draws_nothing() -> None:
    """The same order for the same knowledge, whatever the source of chance; equals stay as configured."""
    arms = {REFS[1]: Arm(), REFS[3]: Arm()}
    for _ in range(10):
        arms[REFS[1]].score(1.0)
        arms[REFS[3]].score(0.0)
    order = bandit(lambda: arms, BanditOptions(frozen=True))
    for seed in range(20):
        rng = random.Random(seed)
        before = rng.getstate()
        assert [one.ref.model for one in order(CANDIDATES, VIEW, rng)] == ["b", "a", "c", "d"]
        assert rng.getstate() == before


def test_G36_the_same_seed_gives_the_same_order() -> None:
    """Nothing else is a source of chance."""
    order = bandit(dict, BanditOptions())
    one, other = random.Random(4), random.Random(4)
    for _ in range(20):
        assert order(CANDIDATES, VIEW, one) == order(CANDIDATES, VIEW, other)


def test_what_is_known_is_said_for_the_trace() -> None:
    """In numbers that a person can follow."""
    arms = {REFS[0]: Arm()}
    arms[REFS[0]].score(1.0)
    says = says_worth(lambda: arms)
    assert says(CANDIDATES[0], VIEW) == "expected 0.67 after 1 outcomes and 0 failures"
    assert says(CANDIDATES[1], VIEW) == "expected 0.50 after 0 outcomes and 0 failures"
