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
    prompt, answer = _tokens(view)
    return sorted(candidates, key=lambda candidate: _expected(candidate, prompt, answer))


def says_cost(candidate: Candidate, view: RequestView) -> str:
    """The expected cost."""
    if candidate.price is None:
        return "no known price"
    return f"about {float(_expected(candidate, *_tokens(view)) / 1_000_000):.2g}"


def _tokens(view: RequestView) -> tuple[int, int]:
    bound = view.request.max_tokens
    return view.tokens, TYPICAL_ANSWER if bound is None else min(bound, TYPICAL_ANSWER)


def _expected(candidate: Candidate, prompt: int, answer: int) -> Decimal:
    price = candidate.price
    return _UNKNOWN if price is None else price.input * prompt + price.output * answer
