"""Strategies that share the load: by the calls that are under way, by what is left of the limits."""

import random
from collections.abc import Sequence
from operator import attrgetter

from core.llm.routing.snapshot import Candidate, RequestView


def load_of(candidate: Candidate) -> float:
    """Calls there, this one included, by weight. What fails fast has few in flight, and must not look idle for it."""
    capacity = candidate.weight * (1.0 - candidate.error_rate)
    return (candidate.in_flight + 1) / max(capacity, 1e-9)


def least_in_flight(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:  # noqa: ARG001 - the signature of a strategy
    """The less loaded of two drawn at random; then the others, the least loaded first.

    Two choices are nearly as good as looking at all, and many processes that all look do not rush to the same model.
    """
    count = len(candidates)
    first = int(rng.random() * count)
    second = int(rng.random() * (count - 1))
    second += second >= first
    one, other = candidates[first], candidates[second]
    if load_of(other) < load_of(one):
        one, other = other, one
    if count == 2:
        return (one, other)
    rest = [candidate for candidate in candidates if candidate is not one and candidate is not other]
    return [one, *sorted([other, *rest], key=load_of)]


def headroom(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:  # noqa: ARG001 - the signature of a strategy
    """Most room under the provider's limits first; as configured where it is the same."""
    return sorted(candidates, key=attrgetter("headroom"), reverse=True)


def says_in_flight(candidate: Candidate, view: RequestView) -> str:  # noqa: ARG001 - one signature for all
    """How many calls are there."""
    return f"{candidate.in_flight} in flight"


def says_headroom(candidate: Candidate, view: RequestView) -> str:  # noqa: ARG001 - one signature for all
    """What is left of the limits."""
    return f"{candidate.headroom:.0%} of its limits left"
