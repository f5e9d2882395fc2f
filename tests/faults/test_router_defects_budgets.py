"""Known defects of routers in wide use, by the numbers of their reports: budgets that are overrun, or refuse too early."""

import asyncio

import pytest

from core.llm import BudgetExceeded, ProviderError, UsageLedger
from core.llm.common.types import Usage
from core.llm.testing import Gate
from tests.unit.llm.support import serving

UNIT = {"alpha": {"models": {"m": {"price": {"input": 0, "output": 1000}}}}}
"""A thousand tokens of an answer cost one."""
ONE = {"max_tokens": 1000}


async def gone(world, name="costs.daily_limit"):
    """Spent and held of one budget."""
    return next(
        (one.spent, one.held) for one in await world.container.get(UsageLedger).budgets() if one.name == name
    )  # fmt: skip


@pytest.mark.parametrize("issue", [pytest.param(26672, id="26672")])
@pytest.mark.parametrize("scope", [{"alpha_daily": 3}, [{"scope": {"user": "ann"}, "amount": 3, "period": "month"}]])
async def test_a_budget_that_is_used_up_lets_nothing_more_through(issue, scope):
    """Whoever asks, in whatever way, from the first refused call on."""
    async with serving(providers=UNIT, costs={"limits": scope}) as world:
        for _ in range(3):
            world.alpha.will_answer("hi", usage=Usage(1, output=1000))
            await world.service.generate("hi", user="ann", **ONE)
        for _ in range(20):
            with pytest.raises(BudgetExceeded):
                await world.service.generate("hi", user="ann", **ONE)
            with pytest.raises(BudgetExceeded):
                await world.service.stream("hi", user="ann", **ONE).response()
        assert len(world.alpha.requests) == 3


@pytest.mark.parametrize("issue", [pytest.param(0, id="34732-complaint-23")])
async def test_calls_at_the_same_time_do_not_all_pass_before_the_first_is_counted(issue):
    """Fifty that wait for their answers: as many as the budget pays for were sent, also where their answers are dear."""
    async with serving(providers=UNIT, costs={"daily_limit": 7}) as world:
        gates = [world.alpha.will_hold("hi") for _ in range(7)]
        calls = [asyncio.ensure_future(world.service.generate("hi", **ONE)) for _ in range(50)]
        for gate in gates:
            await gate.reached()
        done, waiting = await asyncio.wait(calls, timeout=0.2)
        assert (len(waiting), len(world.alpha.requests)) == (7, 7)
        assert all(isinstance(call.exception(), BudgetExceeded) for call in done)
        assert await gone(world) == (0, 7)
        for gate in gates:
            gate.open()
        await asyncio.gather(*waiting)
        assert (await gone(world))[1] == 0


@pytest.mark.parametrize("issue", [pytest.param(40095, id="40095")])
async def test_the_first_calls_of_a_user_nobody_has_seen_are_held_to_his_budget(issue):
    """His account is there before the first of them is sent, not after."""
    limits = [{"scope": {"user": "*"}, "amount": 1, "period": "day"}]
    async with serving(providers=UNIT, costs={"limits": limits}) as world:
        for _ in range(8):
            world.alpha.will_answer("hi", usage=Usage(1, output=1000))
        calls = [world.service.generate("hi", user="new", **ONE) for _ in range(8)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 7
        assert len(world.alpha.requests) == 1


@pytest.mark.parametrize("issue", [pytest.param(0, id="36926-complaint-23")])
@pytest.mark.parametrize("end", ["cancelled", "failed", "left", "refused"])
async def test_calls_that_came_to_nothing_do_not_use_the_budget_up(issue, end):
    """No false alarm: a thousand units were held for a while, next to nothing was spent, and a last call goes through."""
    async with serving(providers=UNIT, costs={"daily_limit": 1}) as world:
        for _ in range(1000 if end == "failed" else 50):
            if end == "cancelled":
                gate = world.alpha.will_hold("never")
                task = asyncio.ensure_future(world.service.generate("hi", **ONE))
                await gate.reached()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            elif end == "left":
                world.alpha.will_stream("h", Gate(), "i")
                async with world.service.stream("hi", max_tokens=900) as stream:
                    await anext(stream)
            elif end == "failed":
                world.alpha.will_raise(ProviderError("invalid_request", "no", scope="request", billing="none"))
                with pytest.raises(ProviderError):
                    await world.service.generate("hi", **ONE)
            else:
                with pytest.raises(BudgetExceeded):
                    await world.service.generate("hi", max_tokens=2000)
        spent, held = await gone(world)
        assert held == 0
        assert spent <= (1 if end == "left" else 0) / 10
        world.alpha.will_answer("hi", usage=Usage(1, output=10))
        await world.service.generate("hi", max_tokens=900)


@pytest.mark.parametrize("issue", [pytest.param(36926, id="36926")])
async def test_a_model_that_costs_nothing_needs_no_budget(issue):
    """Nor one that nobody has a price for: what is not known is not refused."""
    free = {"models": {"m": {"price": {"input": 0, "output": 0}}}}
    async with serving(providers={"alpha": free}, costs={"daily_limit": 0}) as world:
        await world.service.generate("hi", **ONE)
        await world.service.generate("hi", model="beta/m", **ONE)
        assert await gone(world) == (0, 0)
