"""What a call may cost at most, known before anything is sent, and what its attempts have cost so far."""

from collections.abc import Awaitable
from decimal import Decimal
from functools import partial
from typing import Final

from core.llm.common.exceptions import BudgetExceeded
from core.llm.common.types import Price, Usage
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.meter import cost_of
from core.llm.pipeline.target import Target
from core.llm.pipeline.unreported import prompt_of, usage_of_broken, usage_of_failed
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.token_calibration import TokenCalibration

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
                used = usage_of_failed(call, target.ref.model, _counts_of(target), error)
                call.spent += _price_of(used, target.facts.price)
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
    prompt = prompt_of(call, target.ref.model, _counts_of(target)).input
    answer = 0 if call.mode == "embed" else longest_answer(call.request, target)
    most = _price_of(Usage(input=prompt, output=answer), price)
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


def _counts_of(target: Target) -> TokenCalibration | None:
    return None if target.upstream is None else target.upstream.tokens


def _price_of(usage: Usage, price: Price | None) -> Decimal:
    cost = cost_of(usage, price, "")
    return cost.amount if cost is not None else Decimal(0)


def _settle(call: Call, target: Target, reply: Reply, _: BaseException | None) -> None:
    answer = reply.response or reply.embedding
    if answer is not None:
        call.spent += answer.cost.amount if answer.cost is not None else 0
    else:
        used = usage_of_broken(call, target.ref.model, _counts_of(target), reply.collector.partial())
        call.spent += _price_of(used, target.facts.price)
