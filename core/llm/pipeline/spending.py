"""What a call may cost at most, known before anything is sent, and what its attempts have cost so far."""

import asyncio
from collections.abc import Awaitable
from decimal import Decimal
from functools import partial
from typing import Final

from core.llm.common.exceptions import BudgetExceeded, LLMError, ProviderError
from core.llm.common.types import Price, Usage
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.meter import cost_of
from core.llm.pipeline.target import Target
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.tokens import estimate_input, estimate_text

LONGEST_ANSWER: Final = 4096
"""Tokens that an answer is taken to have where neither the request nor the model bounds it."""


def spending(target: Target) -> Layer:
    """The layer that refuses each further attempt which would take the call above its limit."""

    def layer(inner: Handler) -> Handler:
        def handle(call: Call) -> Awaitable[Reply]:
            return inner(call) if call.cost_limit is None else limited(call)

        async def limited(call: Call) -> Reply:
            problem = too_dear(call, target)
            if problem is not None:
                raise BudgetExceeded(f"{target.ref}: {problem}")
            try:
                reply = await inner(call)
            except BaseException as error:
                if _may_be_billed(error):
                    call.spent += _price_of(_prompt(call, target), 0, target.facts.price)
                raise
            reply.on_end(partial(_settle, call, target))
            return reply

        return handle

    return layer


def too_dear(call: Call, target: Target) -> str | None:
    """Why another attempt of *call* at *target* may cost too much; `None` where it may not, or no price is known."""
    limit, price = call.cost_limit, target.facts.price
    if limit is None or price is None:
        return None
    prompt = _prompt(call, target)
    answer = 0 if call.mode == "embed" else longest_answer(call.request, target)
    most = _price_of(prompt, answer, price)
    # What another candidate costs that is being asked at the same time is not known yet: taken to be as much again.
    running = sum(not attempt.decision and attempt.target != target.ref for attempt in call.trace.attempts)
    if call.spent + most * (1 + running) <= limit:
        return None
    before = f" after {call.spent:f} for earlier attempts" if call.spent else ""
    before += " beside another attempt" if running else ""
    return (
        f"about {prompt} tokens and an answer of up to {answer} may cost {most:f}{before}, the limit of this call is "
        f"{limit:f}: lower max_tokens, or raise cost_limit or max_cost"
    )


def longest_answer(request: LLMRequest, target: Target) -> int:
    """Tokens that the answer to *request* has at most, as far as that is bounded."""
    return request.max_tokens or target.facts.max_output_tokens or LONGEST_ANSWER


def _prompt(call: Call, target: Target) -> int:
    if call.mode == "embed":
        return sum(map(estimate_text, call.inputs))
    upstream = target.upstream
    found = upstream.tokens.estimate(target.ref.model, call.request) if upstream is not None else None
    return estimate_input(call.request) if found is None else found.tokens


def _price_of(prompt: int, answer: int, price: Price | None) -> Decimal:
    cost = cost_of(Usage(input=prompt, output=answer), price, "")
    return cost.amount if cost is not None else Decimal(0)


def _may_be_billed(error: BaseException) -> bool:
    if isinstance(error, ProviderError):
        return error.billing != "none"
    return isinstance(error, asyncio.CancelledError) or not isinstance(error, LLMError)


def _settle(call: Call, target: Target, reply: Reply, error: BaseException | None) -> None:
    answer = reply.response or reply.embedding
    if answer is not None:
        call.spent += answer.cost.amount if answer.cost is not None else 0
    elif error is not None:
        output = estimate_text(reply.collector.partial().text)
        call.spent += _price_of(_prompt(call, target), output, target.facts.price)
