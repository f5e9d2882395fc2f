"""The cheapest first."""

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from core.llm.routing.snapshot import Candidate, RequestView

TYPICAL_ANSWER: Final = 500
"""Tokens of an answer whose length nobody bounds."""
_UNKNOWN: Final = Decimal("Infinity")


def cost(candidates: Sequence[Candidate], view: RequestView, rng: random.Random) -> Sequence[Candidate]:  # noqa: ARG001 - the signature of a strategy
    """By what this request is expected to cost; a model without a known price comes last."""
    prompt, bound = view.tokens, view.request.max_tokens
    answer = TYPICAL_ANSWER if bound is None else min(bound, TYPICAL_ANSWER)
    return sorted(candidates, key=lambda candidate: _expected(candidate, prompt, answer))


def says_cost(candidate: Candidate, view: RequestView) -> str:  # noqa: ARG001 - one signature for all
    """The price."""
    price = candidate.price
    return "no known price" if price is None else f"{price.input} in, {price.output} out"


def _expected(candidate: Candidate, prompt: int, answer: int) -> Decimal:
    price = candidate.price
    return _UNKNOWN if price is None else price.input * prompt + price.output * answer
