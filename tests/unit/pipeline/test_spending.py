"""What earlier attempts of a call have cost counts before each further one."""

from decimal import Decimal
from typing import Any

import pytest

from core.llm.common.exceptions import BudgetExceeded, ProviderError
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import Cost, ModelFacts, ModelRef, Price
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.spending import LONGEST_ANSWER, longest_answer, spending, too_dear
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.response import EmbeddingResponse, RefusalDelta, TextDelta
from tests.unit.pipeline.support import Scripted, a_call, a_target, an_answer, an_error

DOLLAR = Price(Decimal(1), Decimal(1))


def limited(limit: str | None, mode: Any = "generate", **params: Any) -> Call:
    """A call that may cost *limit*; an answer of 1,000 tokens costs a thousandth."""
    call = a_call(mode, **{"max_tokens": 1000, **params})
    call.cost_limit = None if limit is None else Decimal(limit)
    return call


def handler(*outcomes: Any, price: Price | None = DOLLAR) -> tuple[Any, Scripted]:
    """The layer around a scripted handler."""
    inner = Scripted(*outcomes)
    return spending(a_target(facts=ModelFacts(price=price)))(inner), inner


def dear_answer(call: Call) -> Reply:
    """An answer that cost more than anybody thought."""
    answer = an_answer()
    answer.cost = Cost(Decimal("0.0095"))
    return Reply(call, response=answer)


async def test_S67_a_call_without_a_limit_is_not_looked_at() -> None:
    """Nothing is summed up for it."""
    layer, inner = handler(dear_answer)
    call = limited(None)
    await (await layer(call)).end("answered")
    assert (call.spent, inner.calls) == (Decimal(0), 1)


async def test_S67_what_an_attempt_has_cost_is_no_longer_there_for_the_next() -> None:
    """As when an object is asked for once more."""
    layer, inner = handler(dear_answer, "never")
    call = limited("0.0100")
    await (await layer(call)).end("answered")
    assert call.spent == Decimal("0.0095")
    with pytest.raises(BudgetExceeded, match=r"after 0\.0095 for earlier attempts"):
        await layer(call)
    assert inner.calls == 1


@pytest.mark.parametrize(("billing", "counts"), [("none", False), ("ambiguous", True), ("estimated", True)])
async def test_S67_an_attempt_of_unknown_outcome_counts_with_the_estimate_of_its_prompt(
    billing: Any, counts: bool
) -> None:
    """What is proven to cost nothing does not."""
    layer, _ = handler(an_error(billing=billing))
    call = limited("1")
    with pytest.raises(ProviderError):
        await layer(call)
    assert (call.spent > 0) is counts


async def test_S67_a_broken_stream_counts_with_what_it_had_written() -> None:
    """Prompt and the part of the answer that came."""

    async def rest() -> Any:
        yield TextDelta("never read")

    layer, _ = handler(lambda call: Reply(call, head=[TextDelta("word " * 1000)], tail=rest()))
    call = limited("1", "stream")
    reply = await layer(call)
    await reply.next()
    await reply.end("failed", an_error())
    assert Decimal("0.001") < call.spent < Decimal("0.003")


async def test_S67_a_refusal_that_leads_to_another_candidate_counts_with_its_prompt() -> None:
    """It is left before anything of it was read, and the call goes on."""

    async def rest() -> Any:
        yield TextDelta("never read")

    layer, _ = handler(lambda call: Reply(call, head=[RefusalDelta("no")], tail=rest()))
    call = limited("1", "stream")
    await (await layer(call)).end("abandoned")
    assert call.spent > 0


async def test_S67_vectors_cost_their_texts_only() -> None:
    """There is no answer to pay for."""
    layer, _ = handler(lambda call: Reply(call, embedding=EmbeddingResponse(((0.1,),), cost=Cost(Decimal("0.5")))))
    call = limited("0.6", "embed", inputs=("word " * 100,))
    await (await layer(call)).end("answered")
    assert call.spent == Decimal("0.5")
    assert too_dear(limited("0.0001", "embed", inputs=("word " * 100,)), a_target(facts=ModelFacts(price=DOLLAR)))
    assert not too_dear(limited("0.001", "embed", inputs=("word " * 100,)), a_target(facts=ModelFacts(price=DOLLAR)))


def test_where_no_price_is_known_nothing_is_refused() -> None:
    """A local model costs nothing."""
    assert too_dear(limited("0"), a_target()) is None


@pytest.mark.parametrize(("asked", "most", "found"), [(7, 9, 7), (None, 9, 9), (None, None, LONGEST_ANSWER)])
def test_an_answer_that_nobody_bounds_is_taken_to_be_long(asked: int | None, most: int | None, found: int) -> None:
    """So that a limit of money holds for it too."""
    assert longest_answer(a_call(max_tokens=asked).request, a_target(facts=ModelFacts(max_output_tokens=most))) == found


def test_the_estimate_learns_from_what_the_provider_has_counted() -> None:
    """The same calibration as everywhere."""
    target = a_target(facts=ModelFacts(price=DOLLAR))
    target.upstream = Upstream(0.0)
    call = limited("0.0013", messages="word " * 100, max_tokens=1000)
    assert too_dear(call, target) is None
    for _ in range(5):
        target.upstream.tokens.learn("m", call.request, 1000)
    assert "about 1000 tokens" in (too_dear(call, target) or "")


def test_S67_an_attempt_that_is_still_running_counts_for_one_beside_it() -> None:
    """Two at the same time cost both; one that has ended counts with what it has cost."""
    target = a_target(facts=ModelFacts(price=DOLLAR))
    call = limited("0.0015")
    other = AttemptTrace(1, ModelRef("beta", "m"), 0.0)
    call.trace.attempts.append(other)
    assert "beside another attempt" in (too_dear(call, target) or "")
    other.decision = "next_candidate"
    assert too_dear(call, target) is None
    call.trace.attempts.append(AttemptTrace(2, target.ref, 0.0))
    assert too_dear(call, target) is None
