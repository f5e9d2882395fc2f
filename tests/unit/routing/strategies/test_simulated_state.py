"""What strategies are worth that look at quotas, caches and memory: counted against somebody who makes no mistake."""

import random
from collections import Counter

import pytest

from core.llm.common.types import ModelRef
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.snapshot import Candidate, RequestView
from core.llm.routing.strategies.affinity import rendezvous
from core.llm.routing.strategies.contract import Strategy
from core.llm.routing.strategies.load import headroom
from core.llm.routing.strategies.memory import prefer_loaded
from core.llm.routing.strategies.order import round_robin, weighted

VIEW = RequestView(LLMRequest(messages="hi"))


def refused(strategy: Strategy, seed: int) -> float:
    """Share of calls that go to a provider whose quota is used up, at 95 % of what all of them take together."""
    rng = random.Random(seed)
    per_second = {"small": 1.0, "middle": 2.0, "large": 4.0}
    left = {name: 10 * rate for name, rate in per_second.items()}
    now, turned_away, calls = 0.0, 0, 4000
    for turn in range(calls):
        pause = rng.expovariate(0.95 * 7.0)
        now += pause
        for name, rate in per_second.items():
            left[name] = min(10 * rate, left[name] + rate * pause)
        seen = [Candidate(ModelRef("p", name), headroom=left[name] / (10 * rate)) for name, rate in per_second.items()]
        chosen = strategy(seen, RequestView(VIEW.request, turn=turn), rng)[0].ref.model
        if left[chosen] < 1.0:
            turned_away += 1
        else:
            left[chosen] -= 1.0
    return turned_away / calls


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_headroom_uses_the_quotas_up_before_anybody_is_turned_away(seed: int) -> None:
    """Somebody who knows everything turns nobody away; this is within one call in a hundred of that."""
    assert refused(headroom, seed) <= 0.01
    assert refused(round_robin, seed) > 0.15
    assert refused(weighted, seed) > 0.15


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_conversations_that_stay_together_find_what_was_cached(seed: int) -> None:
    """Only the first turn of each finds nothing, which nobody could avoid; by lot three turns of ten find nothing."""
    rng = random.Random(seed)
    models = [Candidate(ModelRef("p", name)) for name in "abc"]

    def misses(by_lot: bool) -> int:
        cached: set[tuple[str, str]] = set()
        found_nothing = 0
        for _ in range(3000):
            conversation = f"conversation {rng.randint(1, 300)}"
            order = weighted(models, VIEW, rng) if by_lot else rendezvous(models, conversation)
            key = (order[0].ref.model, conversation)
            found_nothing += key not in cached
            cached.add(key)
        return found_nothing

    assert misses(by_lot=False) <= 300
    assert misses(by_lot=True) > 800


def test_conversations_are_spread_over_all_models() -> None:
    """Staying together is not going to the same place."""
    models = [Candidate(ModelRef("p", name)) for name in "abc"]
    firsts = Counter(rendezvous(models, f"conversation {number}")[0].ref.model for number in range(3000))
    assert all(abs(count - 1000) < 120 for count in firsts.values()), firsts


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nobody_waits_for_a_load_while_a_model_is_in_memory(seed: int) -> None:
    """Models come and go as others use the memory; the regret is nil."""
    rng = random.Random(seed)
    waits = avoidable = 0
    for _ in range(2000):
        seen = [Candidate(ModelRef("p", name), loaded=rng.random() < 0.4) for name in "abc"]
        waits += not prefer_loaded(seen, VIEW, rng)[0].loaded
        avoidable += all(not candidate.loaded for candidate in seen)
    assert waits == avoidable
