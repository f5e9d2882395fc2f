"""Models that are in memory first."""

import random
from collections.abc import Sequence
from typing import Final

from core.llm.routing.snapshot import Candidate, RequestView

_RANK: Final = {True: 0, None: 1, False: 2}


def prefer_loaded(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:  # noqa: ARG001 - the signature of a strategy
    """What is in memory, then what is always there, then what would have to be loaded; else as configured."""
    return sorted(candidates, key=lambda candidate: _RANK[candidate.loaded])


def says_loaded(candidate: Candidate, view: RequestView) -> str:  # noqa: ARG001 - one signature for all
    """Where the model is."""
    if candidate.loaded is None:
        return "always there"
    return "in memory" if candidate.loaded else "not in memory"
