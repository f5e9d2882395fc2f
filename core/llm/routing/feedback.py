"""The strategy `bandit`: it learns from outcomes which model of an alias is worth its time and money. Pure."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from core.llm.common.types import ModelRef
from core.llm.providers.config.models.experiments import BanditOptions
from core.llm.routing.arms import Arm
from core.llm.routing.snapshot import Candidate, RequestView
from core.llm.routing.strategies.contract import Strategy


def bandit(arms: Callable[[], Mapping[ModelRef, Arm]], options: BanditOptions) -> Strategy:
    """The strategy that sends more calls to whoever does better, and finds that out as it goes (Thompson sampling).

    Each candidate draws what its answer may be worth from what is known about it; time and money are taken off, as
    shares of the slowest and the most expensive candidate. Frozen, nothing is drawn: the best expectation comes first.
    """

    def order(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:  # noqa: ARG001 - the signature of a strategy
        known = arms()
        slowest = max((_seconds(known.get(one.ref)) for one in candidates), default=0.0)
        dearest = max((_cost(known.get(one.ref)) for one in candidates), default=0.0)

        def worth(candidate: Candidate) -> float:
            arm = known.get(candidate.ref, _UNKNOWN)
            value = arm.expected() if options.frozen else arm.drawn(rng)
            if slowest:
                value -= options.latency_weight * _seconds(arm) / slowest
            if dearest:
                value -= options.cost_weight * _cost(arm) / dearest
            return value

        # Sorting is stable, so that equals keep their configured order.
        return sorted(candidates, key=worth, reverse=True)

    return order


def says_worth(arms: Callable[[], Mapping[ModelRef, Arm]]) -> Callable[[Candidate, RequestView], str]:
    """What is known about a candidate, for the trace."""

    def says(candidate: Candidate, view: RequestView) -> str:  # noqa: ARG001 - one signature for all
        arm = arms().get(candidate.ref, _UNKNOWN)
        return f"expected {arm.expected():.2f} after {arm.scores} outcomes and {arm.failed} failures"

    return says


def _seconds(arm: Arm | None) -> float:
    return (arm.mean_seconds or 0.0) if arm is not None else 0.0


def _cost(arm: Arm | None) -> float:
    return (arm.mean_cost or 0.0) if arm is not None else 0.0


_UNKNOWN: Final = Arm()
