"""What a strategy is, and a classifier."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from core.llm.routing.snapshot import Candidate, RequestView

Strategy = Callable[[Sequence[Candidate], RequestView, random.Random], Sequence[Candidate]]
"""Puts all candidates in the order in which they are tried. There are at least two, and all of them are ready unless
none is. Quick and synchronous: it runs in every call. Randomness comes from the argument."""

Classifier = Callable[[RequestView], str]
"""Names the class of a request, one of the keys of `classes`. Quick and synchronous: it runs in every call."""


class StrategySpec(NamedTuple):
    """A strategy and what is to be known about it."""

    order: Strategy
    says: Callable[[Candidate, RequestView], str] | None = None
    """What it saw in a candidate, for the trace."""
    measures: bool = False
    """Whether calls have to be measured for it."""
    own: bool = False
    """Whether it is a function of the host's, which is not trusted to return what it should."""
