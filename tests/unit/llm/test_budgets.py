"""Budgets of a running service: what may cost too much is not sent, whatever ends a call, and it says until when."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from core.llm import BudgetAlert, BudgetExceeded, BudgetStatus, ProviderError, UsageLedger
from core.llm.accounting import budgets
from core.llm.common.types import ModelRef, Usage
from core.llm.testing import EventRecorder, Gate
from tests.unit.accounting.spending import START, WallClock
from tests.unit.llm.support import World, serving

pytestmark = pytest.mark.leakcheck

DOLLAR = {"models": {"m": {"price": {"input": 0, "output": 1000}}}}
"""A thousand tokens of an answer cost one unit."""
CENT = {"models": {"m": {"price": {"input": 0, "output": 10}}}}
ONE = {"max_tokens": 1000}


@asynccontextmanager
async def spending(daily: Any = 10, **config: Any) -> AsyncIterator[World]:
    """A service that may spend *daily* a day, at noon."""
    costs = {"daily_limit": daily, **config.pop("costs", {})}
    providers = {"alpha": DOLLAR, "beta": CENT, **config.pop("providers", {})}
    async with serving(clock=WallClock(), costs=costs, providers=providers, **config) as world:
        yield world


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """What is logged."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="WARNING")
    yield lines
    logger.remove(sink)


async def standing(world: World, name: str = "costs.daily_limit") -> tuple[Decimal, Decimal]:
    """Spent and held."""
    statuses: tuple[BudgetStatus, ...] = await world.container.get(UsageLedger).budgets()
    (found,) = [status for status in statuses if status.name == name]
    return found.spent, found.held


def answers(world: World, tokens: int, times: int = 1) -> None:
    for _ in range(times):
        world.alpha.will_answer("hi", usage=Usage(10, output=tokens))


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
async def test_F156_200_calls_at_once_spend_all_of_the_limit_and_no_more(backend: str, tmp_path: Path) -> None:
    """Each costs one unit; 37 fit."""
    state = {"backend": backend, **({"path": str(tmp_path / "l.db")} if backend == "sqlite" else {})}
    async with spending(37, state=state) as world:
        answers(world, 1000, times=200)
        outcomes = await asyncio.gather(
            *(world.service.generate(f"{number}", **ONE) for number in range(200)), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, BudgetExceeded)]
        assert len(refused) == 200 - 37
        assert len(world.alpha.requests) == 37
        assert await standing(world) == (37, 0)
        assert sum(total.amount for total in await world.container.get(UsageLedger).totals()) == 37
        assert world.leases() == 0


async def test_what_was_not_needed_is_there_for_the_next_call() -> None:
    """Twenty calls that may cost one and cost a tenth fit into two, one after the other."""
    async with spending(2) as world:
        answers(world, 100, times=20)
        for _ in range(11):
            await world.service.generate("hi", **ONE)
        assert await standing(world) == (Decimal("1.1"), 0)
        with pytest.raises(BudgetExceeded, match=r"1\.1 USD of 2 are spent this day, and this attempt may cost 1\."):
            await world.service.generate("hi", **ONE)


async def test_the_error_says_when_the_budget_begins_anew() -> None:
    async with spending(0) as world:
        with pytest.raises(BudgetExceeded, match=r"begins anew at 2026-11-21T00:00:00\+00:00") as caught:
            await world.service.generate("hi", **ONE)
        assert caught.value.resets_at == START.replace(day=21, hour=0)
        assert world.alpha.requests == []


async def test_it_goes_on_at_the_moment_it_said() -> None:
    async with spending(1) as world:
        answers(world, 1000, times=2)
        await world.service.generate("hi", **ONE)
        with pytest.raises(BudgetExceeded) as caught:
            await world.service.generate("hi", **ONE)
        clock = world.holder.current.state.clock
        assert isinstance(clock, WallClock)
        assert caught.value.resets_at is not None
        clock.time = caught.value.resets_at
        await world.service.generate("hi", **ONE)


@pytest.mark.parametrize(
    "limits", [{"alpha_daily": 0}, [{"scope": {"model": "alpha/m"}, "amount": 0, "period": "month"}]]
)
async def test_the_next_candidate_is_asked_where_only_the_first_has_used_up_its_budget(limits: Any) -> None:
    async with spending(costs={"limits": limits}, models={"a": ["alpha/m", "beta/m"]}) as world:
        response = await world.service.generate("hi", model="a", **ONE)
        assert response.provider == "beta"
        assert "costs.limits" in response.trace.candidates[0].reason
        assert world.alpha.requests == []


async def test_a_cheaper_candidate_may_fit_into_what_is_left() -> None:
    async with spending("0.5", models={"a": ["alpha/m", "beta/m"]}) as world:
        assert (await world.service.generate("hi", model="a", **ONE)).provider == "beta"


async def test_where_nobody_fits_the_call_ends_with_the_budget() -> None:
    async with spending(0, models={"a": ["alpha/m", "beta/m"]}) as world:
        with pytest.raises(BudgetExceeded, match="beta/m") as caught:
            await world.service.generate("hi", model="a", **ONE)
        assert caught.value.resets_at is not None
        assert str(caught.value).count("begins anew") == 2


async def test_explain_says_what_a_budget_would_refuse() -> None:
    async with spending("0.5", models={"a": ["alpha/m", "beta/m"]}) as world:
        first, second = world.service.explain("hi", model="a", **ONE).candidates
        assert (first.verdict, second.verdict) == ("skipped", "first")
        assert "costs.daily_limit" in first.reason


async def test_a_budget_of_an_alias_counts_the_default_model_too() -> None:
    limits = {"a_daily": 1}
    async with spending(costs={"limits": limits}, models={"a": "alpha/m"}, default_model="a") as world:
        answers(world, 1000, times=3)
        await world.service.generate("hi", **ONE)
        with pytest.raises(BudgetExceeded, match="a_daily"):
            await world.service.generate("hi", model="a", **ONE)
        await world.service.generate("hi", model="alpha/m", **ONE)


@pytest.mark.parametrize("user", ["ann", None])
async def test_a_budget_of_each_user_knows_them_apart(user: str | None) -> None:
    limits = [{"scope": {"user": "*"}, "amount": 1, "period": "day"}]
    async with spending(costs={"limits": limits}) as world:
        answers(world, 1000, times=2)
        await world.service.generate("hi", user="bob", **ONE)
        await world.service.generate("hi", user=user, **ONE)
        with pytest.raises(BudgetExceeded, match="of this user"):
            await world.service.generate("hi", user="bob", **ONE)


async def test_S63_users_beyond_what_memory_holds_are_refused_also_by_a_whole_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is looked at before an attempt must not give them the account that the attempt would be denied."""
    monkeypatch.setattr(budgets, "USERS_KEPT", 3)
    limits = [{"scope": {"user": "*"}, "amount": 5, "period": "day"}]
    async with spending(costs={"limits": limits}) as world:
        answers(world, 1000, times=4)
        for user in ("ann", "ben", "cat"):
            await world.service.generate("hi", user=user, **ONE)
        with pytest.raises(BudgetExceeded, match="users have spent something this day"):
            await world.service.generate("hi", user="dan", **ONE)
        assert len(world.alpha.requests) == 3


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
@pytest.mark.parametrize("how", ["cancelled", "left", "broken", "refused", "ambiguous"])
async def test_whatever_ends_a_call_costs_what_the_ledger_books_and_holds_nothing(
    how: str, backend: str, tmp_path: Path
) -> None:
    state = {"backend": backend, **({"path": str(tmp_path / "l.db")} if backend == "sqlite" else {})}
    price = {"models": {"m": {"price": {"input": 1000, "output": 1000}}}}
    async with spending(20, providers={"alpha": price}, state=state) as world:
        if how == "cancelled":
            gate = world.alpha.will_hold("never")
            task = asyncio.create_task(world.service.generate("hello there", **ONE))
            await gate.reached()
            assert (await standing(world))[1] > 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif how == "left":
            world.alpha.will_stream("Hello ", Gate(), "never")
            async with world.service.stream("hello there", **ONE) as stream:
                await anext(stream)
        elif how == "broken":
            world.alpha.will_stream("Hello ", ProviderError("network_error", "cut"))
            with pytest.raises(ProviderError):
                await world.service.stream("hello there", **ONE).response()
        else:
            billing: Any = "none" if how == "refused" else "ambiguous"
            world.alpha.will_raise(ProviderError("server_error", "no", billing=billing))
            with pytest.raises(ProviderError):
                await world.service.generate("hello there", **ONE)
        booked = sum(total.amount for total in await world.container.get(UsageLedger).totals())
        assert await standing(world) == (booked, 0)
        assert (booked > 0) == (how != "refused")


async def test_a_vector_costs_its_text() -> None:
    providers = {"alpha": {"models": {"m": {"price": {"input": 1000, "output": 0}}}}}
    async with spending("0.5", providers=providers) as world:
        await world.service.embed("one two three")
        spent, held = await standing(world)
        assert 0 < spent < Decimal("0.1")
        assert held == 0
        with pytest.raises(BudgetExceeded):
            await world.service.embed("word " * 1000)


async def test_a_model_without_a_price_counts_nothing_and_is_told_once(messages: list[str]) -> None:
    async with spending(1, providers={"alpha": {"models": ["m"]}}) as world:
        for _ in range(3):
            await world.service.generate("hi")
        assert await standing(world) == (0, 0)
        lines = [line for line in messages if "no price is known" in line]
        assert lines == [
            "alpha/m: no price is known, so no budget counts what it costs; set providers.alpha.models.m.price"
        ]


async def test_an_alert_is_published_and_logged_once(messages: list[str]) -> None:
    async with spending(10) as world:
        seen = EventRecorder(world.events, BudgetAlert)
        answers(world, 1000, times=10)
        for _ in range(10):
            await world.service.generate("hi", **ONE)
        assert [event.threshold for event in seen.of(BudgetAlert)] == [0.8, 1.0]
        lines = [line for line in messages if "costs.daily_limit" in line]
        assert lines == [
            "costs.daily_limit has reached 80%: 8 of 10 USD spent; it begins anew at 2026-11-21T00:00:00+00:00",
            "costs.daily_limit is used up: 10 of 10 USD spent; it begins anew at 2026-11-21T00:00:00+00:00",
        ]


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
async def test_an_edited_budget_counts_for_the_next_call_and_keeps_what_was_spent(backend: str, tmp_path: Path) -> None:
    state = {"backend": backend, **({"path": str(tmp_path / "l.db")} if backend == "sqlite" else {})}
    async with spending(1, state=state) as world:
        answers(world, 1000, times=5)
        await world.service.generate("hi", **ONE)
        with pytest.raises(BudgetExceeded):
            await world.service.generate("hi", **ONE)
        for amount, fits in ((3, True), (2, False), (None, True), (3, False)):
            config = world.manager.current
            costs = config.costs.model_copy(update={"daily_limit": None if amount is None else Decimal(amount)})
            assert (await world.manager.replace(config.model_copy(update={"costs": costs}))).status == "applied"
            if fits:
                await world.service.generate("hi", **ONE)
            else:
                with pytest.raises(BudgetExceeded):
                    await world.service.generate("hi", **ONE)
        assert await standing(world) == (3, 0)


async def test_after_a_restart_the_running_windows_know_what_was_spent(tmp_path: Path) -> None:
    """Also those of budgets that are new."""
    state = {"backend": "sqlite", "path": str(tmp_path / "l.db")}
    async with serving(clock=WallClock(), providers={"alpha": DOLLAR}, state=state) as world:
        answers(world, 1000, times=2)
        for _ in range(2):
            await world.service.generate("hi", **ONE)
    async with spending(3, state=state, costs={"limits": {"alpha_monthly": "2.5"}}) as world:
        assert await standing(world) == (2, 0)
        with pytest.raises(BudgetExceeded, match="alpha_monthly"):
            await world.service.generate("hi", **ONE)
        assert "alpha_monthly" in str(world.service.explain("hi", **ONE))


async def test_a_budget_that_refuses_costs_no_retry_and_opens_no_breaker() -> None:
    """What is held by a call under way refuses the others at the last moment, below the breaker."""
    async with spending(1, retries=5) as world:
        gate = world.alpha.will_hold("done")
        first = asyncio.create_task(world.service.generate("hi", **ONE))
        await gate.reached()
        before = world.service.get_provider_status()["alpha"]
        for _ in range(50):
            with pytest.raises(BudgetExceeded, match="1 held for attempts under way"):
                await world.service.generate("hi", **ONE)
        after = world.service.get_provider_status()["alpha"]
        assert (after.state, after.consecutive_failures) == (before.state, 0)
        gate.open()
        await first
        assert len(world.alpha.requests) == 1
        await world.service.generate("hi", max_tokens=100)


async def test_without_budgets_nothing_is_kept() -> None:
    async with serving(providers={"alpha": DOLLAR}) as world:
        await world.service.generate("hi")
        ledger = world.container.get(UsageLedger)
        assert await ledger.budgets() == ()
        assert not ledger.purse.active
        target = world.holder.current.target_now(ModelRef("alpha", "m"))
        assert target is not None
        assert target.overdrawn is None


async def test_a_clock_that_is_set_during_a_call_loses_nothing() -> None:
    """F161: what is held on one day is booked on that day."""
    async with spending(1) as world:
        clock = world.holder.current.state.clock
        assert isinstance(clock, WallClock)
        gate = world.alpha.will_hold("done")
        task = asyncio.create_task(world.service.generate("hi", **ONE))
        await gate.reached()
        clock.time += timedelta(days=1)
        gate.open()
        await task
        assert await standing(world) == (0, 0)
        clock.time -= timedelta(days=1)
        assert (await standing(world))[0] > 0
