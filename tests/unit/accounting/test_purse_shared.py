"""The purse where processes share a ledger: the store decides, and what is not known there is not assumed here."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.exceptions import BudgetExceeded
from core.llm.common.types import ModelRef
from core.llm.providers.config.models.service import StateOptions
from core.llm.state.holds import Hold, Scope
from core.llm.state.rows import AttemptRow
from tests.unit.accounting.spending import ALPHA, Till


class Side(Till):
    """One of the processes that share a ledger."""

    def __init__(self, name: str, path: Path, costs: dict[str, Any]) -> None:
        super().__init__(costs)
        self.name = name
        self.book = UsageLedger(lambda: StateOptions(backend="sqlite", path=str(path)))
        self.purse = self.book.purse
        self.configure(costs)

    def hold(self, amount: int, ref: ModelRef = ALPHA) -> Hold:
        self.number += 1
        return Hold(f"{self.name}-{self.number}", Scope(*ref), self.clock.now(), amount * 10**9)

    async def share(self, hold: Hold, guard: Any = None) -> None:
        """Take *hold* as the layer before an attempt does."""
        store = self.purse.shared
        assert store is not None
        budgets = self.purse.touching(ModelRef(hold.spender.provider, hold.spender.model))
        await self.purse.take_shared(store, budgets, hold, guard or nullcontext())

    async def pay(self, amount: int) -> None:
        """One attempt at alpha that costs what it held; it is in the file for all to see."""
        hold = self.hold(amount)
        await self.share(hold)
        row = AttemptRow(hold.attempt_id, self.name, self.number, *ALPHA, hold.started)
        written = self.book.begin(row)
        assert written is not None
        await written
        self.settle(row, amount)
        await self.standing()  # the store works in order


@pytest.fixture
async def sides(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Opens one more process on the same ledger."""
    async with AsyncExitStack() as stack:

        async def opened(costs: dict[str, Any], name: str = "one") -> Side:
            side = Side(name, tmp_path / "ledger.db", costs)
            await side.book.start()
            stack.push_async_callback(side.book.stop)
            return side

        yield opened


async def test_F156_what_another_process_spent_and_holds_is_not_there_for_this_one(sides: Callable[..., Any]) -> None:
    """The refusal names both sums, and nothing of it stays behind."""
    one, two = await sides({"daily_limit": 10}), await sides({"daily_limit": 10}, "two")
    await one.pay(4)
    await one.share(one.hold(3))
    with pytest.raises(BudgetExceeded, match=r"4 USD of 10 are spent and 3 held .* may cost 5"):
        await two.share(two.hold(5))
    await two.share(two.hold(3))
    assert await one.standing() == await two.standing() == {"daily_limit": (4, 6)}


async def test_what_others_have_spent_is_told_here_too(sides: Callable[..., Any]) -> None:
    """Whoever watches one process sees that the budget is nearly gone, whoever spent it."""
    one, two = [await sides({"daily_limit": 10, "alert_threshold": 0.5}, name) for name in ("one", "two")]
    await two.pay(1)
    await one.pay(6)
    await two.share(two.hold(1))
    assert [(alert.threshold, int(alert.spent)) for alert in two.alerts] == [(0.5, 7)]


async def test_F154_a_caller_who_leaves_while_the_store_decides_holds_nothing(sides: Callable[..., Any]) -> None:
    """Whether it was reserved is not known by then, so it is given back whatever became of it."""
    side = await sides({"daily_limit": 10})
    task = asyncio.ensure_future(side.share(side.hold(10)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await side.standing() == {"daily_limit": (0, 0)}
    await side.pay(10)


async def test_F126_a_deadline_that_passes_while_the_store_decides_sends_nothing_and_holds_nothing(
    sides: Callable[..., Any],
) -> None:
    """The error that ends the wait reaches the caller."""
    side = await sides({"daily_limit": 10})

    @contextmanager
    def passed() -> Iterator[None]:
        yield
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await side.share(side.hold(10), passed())
    assert await side.standing() == {"daily_limit": (0, 0)}
    assert not side.purse.hold_of("one-1")


async def test_an_attempt_that_is_never_begun_is_given_back_to_all(sides: Callable[..., Any]) -> None:
    """A refusal by a later layer leaves the budget of the other processes as it was."""
    one, two = await sides({"daily_limit": 10}), await sides({"daily_limit": 10}, "two")
    hold = one.hold(10)
    await one.share(hold)
    assert one.purse.hold_of(hold.attempt_id) == hold
    one.purse.release(hold.attempt_id)
    assert one.purse.hold_of(hold.attempt_id) is None
    assert await one.standing() == {"daily_limit": (0, 0)}
    await two.pay(10)


async def test_an_attempt_that_no_budget_covers_is_not_held_against_any(sides: Callable[..., Any]) -> None:
    """Only what an alias, a user or a provider of the budget does counts; for the rest the store is not asked."""
    side = await sides({"limits": {"fast_daily": 10}})
    hold = side.hold(1000)
    await side.share(hold)
    assert await side.standing() == {"limits.fast_daily": (0, 0)}
    side.configure({"daily_limit": 10})
    assert await side.standing() == {"daily_limit": (0, 0)}
