"""What a call may cost, and what it has cost, also where several features work on one call."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.exceptions import BudgetExceeded, LLMError, ProviderError, RateLimited
from core.llm.testing import FakeClock
from tests.unit.llm.support import World, serving

PRICED: dict[str, Any] = {"models": {"m": {"price": {"input": 1_000_000, "output": 1_000_000}}}}
"""One unit of money for each token."""
BROKEN = ProviderError("network_error", "it broke", code="body_cut")
RESTART: dict[str, Any] = {"use": "alpha/m", "fallback": ["beta/m"], "mid_stream": "restart"}
HEDGED: dict[str, Any] = {**RESTART, "hedge": {"after": "100ms", "max_extra": 1.0}}


async def read(world: World, **options: Any) -> Any:
    async with world.service.stream("hi there you", model="fast", timeout=60, **options) as events:
        async for _ in events:
            pass
        return await events.response()


@pytest.mark.parametrize("alias", [RESTART, HEDGED], ids=["alone", "hedged"])
async def test_a_broken_attempt_counts_towards_the_limit_of_its_call(alias: dict[str, Any]) -> None:
    """Who takes over a broken stream is asked only if there is money left for it, whoever had won a race before."""
    providers = {"alpha": PRICED, "beta": PRICED}
    async with serving(clock=FakeClock(auto_advance=True), providers=providers, models={"fast": alias}) as world:
        world.alpha.will_stream("a " * 30, "b " * 30, "c " * 30, BROKEN)
        with pytest.raises(ProviderError, match="it broke") as failure:
            await read(world, max_tokens=100, cost_limit=130)
        assert failure.value.trace is not None
        assert "after 50 for earlier attempts" in failure.value.trace.candidates[1].reason
        assert world.beta.requests == []


@pytest.mark.parametrize("policy", ["restart", {"policy": "continue", "otherwise": "restart"}])
@pytest.mark.parametrize("tools", [(), [{"name": "look", "parameters": {"type": "object"}}]], ids=["text", "tools"])
async def test_a_recovered_answer_costs_what_its_rows_in_the_ledger_cost(policy: Any, tools: Any) -> None:
    """The estimate of what broke is the same in both accounts."""
    model = {**PRICED["models"]["m"], "quirks": {"prefill": True}}
    providers = {name: {"models": {"m": model}} for name in ("alpha", "beta")}
    models = {"fast": {**RESTART, "mid_stream": policy}}
    async with serving(clock=FakeClock(auto_advance=True), providers=providers, models=models) as world:
        for _ in range(5):  # the calibration learns from these
            await world.service.generate("hi there you", model="fast")
        world.alpha.will_stream("a ", "b ", BROKEN)
        response = await read(world, tools=tools)
        assert response.trace is not None
        rows = await world.container.get(UsageLedger).rows(call_id=response.trace.call_id)
        assert len(rows) == 2
        assert response.cost is not None
        assert response.cost.amount == sum(Decimal(row.amount or 0) for row in rows)
        assert response.usage.total == sum(row.usage.total for row in rows)


async def ask(world: World, **options: Any) -> str | LLMError:
    try:
        return (await world.service.generate("hi there you", model="fast", max_tokens=100, **options)).content
    except LLMError as error:
        return error


async def test_who_pays_little_does_not_decide_for_those_who_ask_the_same() -> None:
    """Identical calls share one request only where they may cost the same."""
    models = {"fast": {"use": "alpha/m", "fallback": []}}
    async with serving("alpha", providers={"alpha": PRICED}, models=models, cache={"enabled": True}) as world:
        little, unbounded, enough = await asyncio.gather(
            ask(world, cost_limit=1), ask(world), ask(world, cost_limit=1000)
        )
        assert isinstance(little, BudgetExceeded | LLMError)
        assert (unbounded, enough) == ("hi there you", "hi there you")


async def test_who_has_little_time_does_not_decide_for_those_who_wait_in_the_same_queue() -> None:
    """A call that joined one which could not wait for its turn waits for its own."""
    models = {"fast": {"use": "alpha/m", "fallback": []}}
    providers = {"alpha": {"rate_limits": {"requests_per_minute": 6}}}
    clock = FakeClock()
    async with serving("alpha", clock=clock, providers=providers, models=models, cache={"enabled": True}) as world:
        await world.service.generate("something else", model="fast")
        asked = asyncio.gather(ask(world, timeout=5), ask(world, timeout=60), ask(world, timeout=4))
        await clock.settle()
        await clock.advance(11)
        short, longer, shortest = await asyncio.wait_for(asked, 30)
        assert isinstance(short, RateLimited)
        assert isinstance(shortest, RateLimited)
        assert longer == "hi there you"
        assert len(world.alpha.requests) == 2
