"""Count tokens and money of an answer: from the provider's numbers, else by an estimate that says it is one."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from core.llm.common.types import Cost, Price, Usage
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.target import Target
from core.llm.pipeline.unreported import prompt_of, tokens_of_answer
from core.llm.routing.token_calibration import TokenCalibration

_MILLION = Decimal(1_000_000)

Meter = Callable[[Call, Reply, BaseException | None], None]
"""Puts usage and cost on an answer that has ended."""


def meter(target: Target, currency: str, calibration: TokenCalibration | None = None) -> Meter:
    """The meter for the answers of *target*; *calibration* learns from what it reports."""
    counts = TokenCalibration() if calibration is None else calibration
    model = target.ref.model

    def count(call: Call, reply: Reply, _: BaseException | None) -> None:
        price = target.facts.price
        attempt = call.attempt
        response = reply.response
        if response is not None:
            if response.usage.estimated:
                output = tokens_of_answer(response.content + response.thinking, response.tool_calls)
                prompt = prompt_of(call, model, counts)
                response.usage = replace(prompt, output=output, raw=response.usage.raw)
            else:
                counts.learn(model, call.request, response.usage.input_total)
            response.cost = cost_of(response.usage, price, currency)
            if attempt is not None:
                attempt.billing = "estimated" if response.usage.estimated else "settled"
                attempt.request_id = response.request_id
        elif reply.embedding is not None:
            vectors = reply.embedding
            if vectors.usage.estimated:
                vectors.usage = replace(vectors.usage, input=prompt_of(call, model, counts).input, output=0)
            vectors.cost = cost_of(vectors.usage, price, currency)
            if attempt is not None:
                attempt.billing = "estimated" if vectors.usage.estimated else "settled"
        elif attempt is not None:
            attempt.billing = "estimated"

    return count


def cost_of(usage: Usage, price: Price | None, currency: str) -> Cost | None:
    """Exact cost of *usage*; `None` where no price is known. Reasoning is billed as output."""
    if price is None:
        return None
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    amount = (
        usage.input * price.input
        + usage.cache_read * read
        + usage.cache_write * write
        + usage.output_total * price.output
    ) / _MILLION
    return Cost(amount, currency, price.source, usage.estimated)


def sum_of_costs(first: Cost | None, later: Cost | None) -> Cost | None:
    """Both together; where one has no price, the other is the least it was."""
    if first is None or later is None:
        return first or later
    return Cost(first.amount + later.amount, later.currency, later.source, first.estimated or later.estimated)
