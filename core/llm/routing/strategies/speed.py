"""Strategies that go by measured time: the shortest expected wait first."""

import random
from collections.abc import Callable, Sequence

from core.llm.routing.snapshot import Candidate, RequestView


def latency(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:  # noqa: ARG001 - the signature of a strategy
    """By the time of a whole answer."""
    return _fastest(candidates, _whole)


def first_token(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:  # noqa: ARG001 - the signature of a strategy
    """By the time to the first output; where nothing is streamed, that is the whole answer."""
    return _fastest(candidates, _first if view.mode == "stream" else _whole)


def says_latency(candidate: Candidate, view: RequestView) -> str:  # noqa: ARG001 - one signature for all
    """The average."""
    return _says(_whole(candidate), candidate)


def says_first_token(candidate: Candidate, view: RequestView) -> str:
    """The average that counts for this call."""
    return _says(_first(candidate) if view.mode == "stream" else _whole(candidate), candidate)


def _whole(candidate: Candidate) -> float | None:
    return candidate.latency


def _first(candidate: Candidate) -> float | None:
    return candidate.first_token


def _fastest(candidates: Sequence[Candidate], time: Callable[[Candidate], float | None]) -> Sequence[Candidate]:
    """Average times calls there, this one included: the fastest is not flooded while its answers are on their way.

    A model that was never measured is tried once; until that call has ended it passes for one like the others.
    """
    known = [found for candidate in candidates if (found := time(candidate)) is not None]
    typical = sum(known) / len(known) if known else 1.0

    def wait(candidate: Candidate) -> float:
        seconds = time(candidate)
        if seconds is None:
            seconds = typical if candidate.in_flight else 0.0
        return seconds * (candidate.in_flight + 1) / max(1.0 - candidate.error_rate, 0.02)

    return sorted(candidates, key=wait)


def _says(seconds: float | None, candidate: Candidate) -> str:
    spent = "not measured" if seconds is None else f"{seconds:.3g} s"
    return f"{spent}, {candidate.in_flight} in flight"
