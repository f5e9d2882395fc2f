"""The layer that holds back what an attempt may cost: how much, for whom, and that all of it comes back."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import ModelFacts, Price
from core.llm.pipeline.budgets import budgets
from core.llm.pipeline.handler import Call, Handler
from core.llm.pipeline.target import Target
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.token_calibration import TokenCalibration
from core.llm.state.holds import Hold
from core.llm.testing import FakeClock
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, a_target, an_error

EACH = Price(Decimal(1_000_000), Decimal(1_000_000))
"""One unit for each token."""


class Rig:
    """The layer around a scripted handler that looks what is held while it runs."""

    def __init__(self, *outcomes: Any, price: Price | None = EACH, **costs: Any) -> None:
        self.clock = FakeClock()
        self.book = UsageLedger()
        self.target: Target = a_target(facts=ModelFacts(price=price))
        config = LLMServiceConfig.model_validate(
            {
                "providers": {"alpha": {}},
                "models": {"fast": "alpha/m", "smart": "alpha/m"},
                "default_model": "fast",
                "costs": costs or {"daily_limit": 100_000},
            }
        )
        self.calibration = TokenCalibration()
        layer = budgets(self.book, self.target, config, self.calibration)
        call = a_call(clock=self.clock)
        self.book.limit(config, self.clock, call.events)
        self.held: list[Hold | None] = []
        self._scripted = Scripted(*outcomes)
        self.handler: Handler = layer(self._looking)

    async def _looking(self, call: Call) -> Any:
        number = call.attempt.number if call.attempt is not None else 1
        self.held.append(self.book.purse.hold_of(f"{call.id}-{number}"))
        return await self._scripted(call)

    def call(self, mode: Any = "generate", **fields: Any) -> Call:
        return a_call(mode, clock=self.clock, **{"max_tokens": 1000, **fields})

    async def holds(self, call: Call) -> int:
        """Units that are held while *call* is under way."""
        await self.handler(call)
        (found,) = self.held
        return 0 if found is None else round(found.nanos / 10**9)

    async def left_behind(self) -> Decimal:
        (status,) = await self.book.budgets()
        return status.held


@pytest.mark.parametrize("ending", [an_error(billing="none"), asyncio.CancelledError(), KeyError("m")], ids=type)
async def test_F156_an_attempt_that_ends_before_it_is_written_down_holds_nothing(ending: BaseException) -> None:
    """No row is ever closed that would give it back."""
    rig = Rig(ending)
    with pytest.raises(type(ending)):
        await rig.handler(rig.call())
    assert rig.held[0] is not None
    assert await rig.left_behind() == 0


@pytest.mark.parametrize(
    "price",
    [
        Price(Decimal(1), Decimal(1000), cache_write=Decimal(500_000)),
        Price(Decimal(500_000), Decimal(1000)),
        Price(Decimal(1), Decimal(1000), cache_read=Decimal(500_000)),
    ],
    ids=["cache_write", "input", "cache_read"],
)
async def test_a_prompt_is_held_at_the_dearest_price_that_it_may_have(price: Price) -> None:
    """Whether it is read from the cache or put there is the provider's decision, and the limit holds all the same."""
    plain = await Rig(price=Price(Decimal(500_000), Decimal(1000))).holds(Rig().call())
    assert await Rig(price=price).holds(Rig().call()) == plain > 1


async def test_a_price_that_is_edited_counts_for_the_next_attempt() -> None:
    """Facts of a model are found out and corrected while the service runs."""
    rig = Rig()
    before = await rig.holds(rig.call())
    rig.held.clear()
    rig.target.provider.facts = lambda _: ModelFacts(price=Price(EACH.input * 2, EACH.output * 2))  # type: ignore[method-assign]  # a provider that has learnt
    assert await rig.holds(rig.call()) == 2 * before


async def test_what_the_provider_counted_before_is_what_is_held() -> None:
    """A tokenizer that makes twice as many tokens of a text costs twice as much."""
    rig = Rig()
    call = rig.call(messages="a rather long question " * 50)
    plain = await rig.holds(call)
    for _ in range(30):
        rig.calibration.learn("m", call.request, 3000)
    rig.held.clear()
    assert await rig.holds(call) >= 3000 + 1000 > plain


async def test_texts_to_embed_are_held_without_an_answer() -> None:
    """A vector is no token."""
    assert 0 < await Rig().holds(Rig().call("embed", inputs=("one two three",))) < 50
    assert await Rig().holds(Rig().call()) > 1000


async def test_what_costs_nothing_holds_nothing() -> None:
    """Neither a free model nor one whose price nobody knows."""
    assert await Rig(price=Price(Decimal(0), Decimal(0))).holds(Rig().call()) == 0
    assert await Rig(price=None).holds(Rig().call()) == 0


@pytest.mark.parametrize(("asked", "alias"), [("", "fast"), ("smart", "smart"), ("alpha/m", "")])
async def test_an_attempt_is_held_for_the_alias_and_the_user_who_asked(asked: str, alias: str) -> None:
    """No model named is the default one; a model's own name is no alias."""
    rig = Rig()
    call = rig.call(user="ann")
    call.trace.requested = asked
    await rig.holds(call)
    (found,) = rig.held
    assert found is not None
    assert found.spender == (*ALPHA, alias, "ann")


async def test_each_attempt_of_a_call_is_held_by_itself() -> None:
    """A hedge runs beside the first one, and both may have to be paid for."""
    rig = Rig()
    one, two = rig.call(), rig.call()
    one.attempt, two.attempt = AttemptTrace(1, ALPHA, 0.0), AttemptTrace(2, ALPHA, 0.0)
    await rig.handler(one)
    held = await rig.left_behind()
    await rig.handler(two)
    assert await rig.left_behind() == 2 * held > 0
    assert [hold and hold.attempt_id for hold in rig.held] == ["c1-1", "c1-2"]


async def test_who_was_not_refused_is_not_said_to_be_overdrawn() -> None:
    """What routing looks at says the same as the layer: also of an attempt that costs nothing."""
    rig = Rig(daily_limit=500)
    assert rig.target.overdrawn is not None
    assert rig.target.overdrawn(rig.call()) is not None
    assert rig.target.overdrawn(rig.call(max_tokens=100)) is None
    free = Rig(price=None, daily_limit=0)
    assert free.target.overdrawn is not None
    assert free.target.overdrawn(free.call()) is None
