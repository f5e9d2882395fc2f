"""Counting tokens and money."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.common.messages import ToolCall
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import ModelFacts, Price, Usage
from core.llm.pipeline.handler import Reply
from core.llm.pipeline.meter import cost_of, meter
from core.llm.pipeline.terminal import terminal
from tests.unit.pipeline.support import ALPHA, a_call, a_provider, a_target, an_answer

PRICE = Price(Decimal("1.25"), Decimal(10), Decimal("0.125"), Decimal("1.5625"), source="config")


@pytest.mark.parametrize(
    ("usage", "amount"),
    [
        (Usage(input=1_000_000), "1.25"),
        (Usage(cache_read=1_000_000), "0.125"),
        (Usage(cache_write=1_000_000), "1.5625"),
        (Usage(output=1_000_000), "10"),
        (Usage(reasoning=1_000_000), "10"),
        (Usage(1, 2, 3, 4, 5), "0.0000961875"),
        (Usage(), "0"),
    ],
)
def test_each_token_is_paid_for_once_in_its_own_bucket(usage: Usage, amount: str) -> None:
    """Costs are exact to the last digit."""
    cost = cost_of(usage, PRICE, "EUR")
    assert cost is not None
    assert (cost.amount, cost.currency, cost.source, cost.estimated) == (Decimal(amount), "EUR", "config", False)


def test_without_a_cache_price_cached_tokens_cost_what_input_costs() -> None:
    """An unknown discount is not assumed."""
    cost = cost_of(Usage(cache_read=500_000, cache_write=500_000), Price(Decimal(2), Decimal(8)), "USD")
    assert cost is not None
    assert cost.amount == Decimal(2)


def test_no_price_is_no_cost_rather_than_zero() -> None:
    """An unknown cost is not presented as free."""
    assert cost_of(Usage(input=10), None, "USD") is None


@given(st.lists(st.integers(0, 10**9), min_size=5, max_size=5))
def test_the_cost_of_a_whole_is_the_sum_of_its_buckets(counts: list[int]) -> None:
    """Whatever the numbers, nothing is lost to rounding."""
    names = ("input", "cache_read", "cache_write", "output", "reasoning")
    whole = cost_of(Usage(*counts), PRICE, "USD")  # type: ignore[arg-type]  # the five buckets come first
    parts = [
        cost_of(replace(Usage(), **{name: count}), PRICE, "USD")  # type: ignore[arg-type]  # each name is a bucket
        for name, count in zip(names, counts, strict=True)
    ]
    assert whole is not None
    assert whole.amount == sum((part.amount for part in parts if part), Decimal(0))


async def test_F49_missing_usage_is_estimated_and_says_so() -> None:
    """Usage, cost and attempt all carry the flag."""
    target = a_target(facts=ModelFacts(price=PRICE))
    answer = an_answer("four words of text", usage=Usage(estimated=True))
    call = a_call(messages="a question of some length")
    call.attempt = AttemptTrace(1, ALPHA, 0.0)
    meter(target, "USD")(call, Reply(call, response=answer), None)
    assert answer.usage.estimated
    assert answer.usage.input > 0
    assert answer.usage.output > 0
    assert answer.cost is not None
    assert answer.cost.estimated
    assert call.attempt.billing == "estimated"


async def test_F49_the_estimate_of_an_answer_holds_its_tool_calls() -> None:
    """An answer that only says what to call is not free of charge."""
    said = ToolCall("t1", "write_file", {"content": "word " * 200})
    answer = replace(an_answer("", usage=Usage(estimated=True)), parts=(said,))
    meter(a_target(), "USD")(a_call(), Reply(a_call(), response=answer), None)
    assert 200 <= answer.usage.output < 300


async def test_reported_usage_is_taken_as_it_is() -> None:
    """The attempt is settled, and the cost exact."""
    target = a_target(models={"m": {"price": {"input": "2", "output": "8"}}})
    call = a_call()
    call.attempt = AttemptTrace(1, ALPHA, 0.0)
    answer = an_answer(usage=Usage(input=1000, output=500))
    meter(target, "USD")(call, Reply(call, response=answer), None)
    assert answer.cost is not None
    assert (answer.cost.amount, answer.cost.source) == (Decimal("0.006"), "config")
    assert call.attempt.billing == "settled"


@pytest.mark.parametrize("reported", [True, False])
async def test_embeddings_are_counted_too(reported: bool) -> None:
    """Where the provider says nothing the texts are estimated."""
    provider = a_provider()
    target = a_target(provider, facts=ModelFacts(price=PRICE))
    call = a_call("embed", inputs=("some words here", "more"))
    call.attempt = AttemptTrace(1, ALPHA, 0.0)
    reply = await terminal(target)(call)
    assert reply.embedding is not None
    if not reported:
        reply.embedding.usage = Usage(estimated=True)
    meter(target, "USD")(call, reply, None)
    assert reply.embedding.usage.input > 0
    assert reply.embedding.cost is not None
    assert call.attempt.billing == ("settled" if reported else "estimated")


async def test_a_stream_that_is_left_early_is_booked_as_an_estimate() -> None:
    """Some output arrived, and the provider will not say how much."""
    provider = a_provider()
    provider.will_stream("one", "two")
    target = a_target(provider)
    call = a_call("stream")
    call.attempt = AttemptTrace(1, ALPHA, 0.0)
    reply = await terminal(target)(call)
    await reply.next()
    await reply.end("abandoned")
    meter(target, "USD")(call, reply, None)
    assert call.attempt.billing == "estimated"
