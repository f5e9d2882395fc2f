"""Strategies that look at no measurement: as configured, in turn, by weight."""

import random
from collections.abc import Sequence

from core.llm.routing.snapshot import Candidate, RequestView


def ordered(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:  # noqa: ARG001 - the signature of a strategy
    """As they are configured."""
    return candidates


def round_robin(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:  # noqa: ARG001 - the signature of a strategy
    """Each call begins one further."""
    turn = view.turn % len(candidates)
    return [*candidates[turn:], *candidates[:turn]]


def weighted(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:  # noqa: ARG001 - the signature of a strategy
    """Each place drawn by weight among those left; weight 0 comes last."""
    left = list(candidates)
    order: list[Candidate] = []
    total = sum([candidate.weight for candidate in left])
    while len(left) > 1 and total > 0:
        point = rng.random() * total
        for index, candidate in enumerate(left):
            point -= candidate.weight
            if point < 0 or index == len(left) - 1:
                order.append(left.pop(index))
                break
        total = sum([candidate.weight for candidate in left])
    return order + left
