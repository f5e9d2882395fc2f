"""What is held and booked against budgets: never more than the limit, once per attempt, in the window it began in."""

from datetime import timedelta

import pytest

from core.llm.accounting import budgets
from core.llm.common.exceptions import BudgetExceeded
from core.llm.common.types import ModelRef
from tests.unit.accounting.spending import START, Till, WallClock


async def test_F156_what_is_held_counts_before_it_is_spent():
    """As many as fit are let in, the next one is not, and nothing of it stays behind."""
    till = Till({"daily_limit": 10})
    rows = [till.take(3) for _ in range(3)]
    with pytest.raises(BudgetExceeded, match=r"0 USD of 10 are spent and 9 held .* may cost 3"):
        till.take(3)
    assert await till.standing() == {"daily_limit": (0, 9)}
    for row in rows:
        till.settle(row, 1)
    assert await till.standing() == {"daily_limit": (3, 0)}
    till.spend(7)
    with pytest.raises(BudgetExceeded):
        till.take(1)


async def test_what_one_budget_refuses_is_held_by_none():
    till = Till({"daily_limit": 100, "limits": {"alpha_daily": 2, "fast_monthly": 50}})
    with pytest.raises(BudgetExceeded, match=r"costs\.limits\.alpha_daily"):
        till.take(3, alias="fast")
    assert await till.standing() == {
        "daily_limit": (0, 0), "limits.alpha_daily": (0, 0), "limits.fast_monthly": (0, 0),
    }  # fmt: skip
    till.spend(3, ref=ModelRef("beta", "m"), alias="fast")
    assert await till.standing() == {
        "daily_limit": (3, 0), "limits.alpha_daily": (0, 0), "limits.fast_monthly": (3, 0),
    }  # fmt: skip


async def test_F155_a_row_that_is_settled_twice_is_booked_once():
    till = Till({"daily_limit": 10})
    row = till.take(4)
    till.settle(row, 3)
    till.settle(row, 3)
    till.purse.release(row.attempt_id)
    assert await till.standing() == {"daily_limit": (3, 0)}
    (total,) = await till.book.totals()
    assert (total.attempts, total.amount) == (1, 3)


async def test_F155_a_late_settlement_belongs_to_the_window_in_which_the_attempt_began():
    till = Till({"daily_limit": 10, "monthly_budget": 20})
    row = till.take(6)
    till.clock.time = START + timedelta(days=1)
    assert (await till.standing())["daily_limit"] == (0, 0)
    till.settle(row, 6)
    assert await till.standing() == {"daily_limit": (0, 0), "monthly_budget": (6, 0)}
    till.clock.time = START
    assert (await till.standing())["daily_limit"] == (6, 0)


async def test_a_released_attempt_costs_nothing():
    till = Till({"daily_limit": 10})
    row = till.take(10)
    till.purse.release(row.attempt_id)
    till.purse.release(row.attempt_id)
    assert await till.standing() == {"daily_limit": (0, 0)}


async def test_more_than_was_held_is_booked_as_it_was():
    """A provider that charges more than anybody could know closes the budget; it does not break it."""
    till = Till({"daily_limit": 10})
    till.settle(till.take(4), 15)
    assert await till.standing() == {"daily_limit": (15, 0)}
    with pytest.raises(BudgetExceeded):
        till.take(1)
    assert [alert.threshold for alert in till.alerts] == [1.0]


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=400), timedelta(days=-400)])
async def test_F161_a_clock_that_jumps_and_comes_back_finds_what_was_spent(jump):
    """Neither reset twice nor skipped: a window has one account, however often the clock comes by."""
    noon = START.replace(hour=23, minute=30) if jump > timedelta() else START.replace(hour=0, minute=30)
    till = Till({"daily_limit": 10}, WallClock(noon))
    till.spend(8)
    till.clock.time = noon + jump
    till.spend(5)
    for moment, left in ((noon, 2), (noon + jump, 5), (noon, 2)):
        till.clock.time = moment
        with pytest.raises(BudgetExceeded):
            till.take(left + 1)
        till.purse.release(till.take(left).attempt_id)


async def test_F161_a_window_that_is_used_again_outlives_those_that_are_not():
    """The ones used the longest ago are forgotten, not the ones that were begun the longest ago."""
    till = Till({"daily_limit": 10})

    def visit(day: int) -> None:
        till.clock.time = START + timedelta(days=day)
        till.take(0)

    visit(1)
    till.spend(5)
    for day in (2, 3, 1, 4, 5, 1):
        visit(day)

    assert await till.standing() == {"daily_limit": (5, 0)}


async def test_F161_a_small_step_back_within_the_day_resets_nothing():
    till = Till({"daily_limit": 10})
    till.spend(8)
    for step in (1, -3, 2, -1):
        till.clock.time += timedelta(hours=step)
        with pytest.raises(BudgetExceeded):
            till.take(3)


async def test_F162_the_budget_begins_anew_at_midnight_of_its_zone():
    till = Till({"daily_limit": 10, "timezone": "Asia/Kathmandu"}, WallClock(START.replace(hour=18, minute=14)))
    till.spend(10)
    with pytest.raises(BudgetExceeded, match=r"anew at 2026-11-21T00:00:00\+05:45 \(Asia/Kathmandu\)") as caught:
        till.take(1)
    assert caught.value.resets_at is not None
    till.clock.time = caught.value.resets_at - timedelta(microseconds=1)
    with pytest.raises(BudgetExceeded):
        till.take(1)
    till.clock.time = caught.value.resets_at
    till.take(10)


async def test_each_user_has_a_budget_of_his_own():
    till = Till({"limits": [{"scope": {"user": "*"}, "amount": 5, "period": "day"}]})
    till.spend(5, user="ann")
    with pytest.raises(BudgetExceeded, match="of this user: 5 USD of 5 are spent"):
        till.take(1, user="ann")
    till.spend(4, user="bob")
    till.spend(100)
    assert {(one.scope.user, int(one.spent)) for one in await till.book.budgets()} == {("ann", 5), ("bob", 4)}


async def test_scopes_that_name_several_things_want_all_of_them():
    till = Till({"limits": [{"scope": {"model": "alpha/m", "user": "ann"}, "amount": 5, "period": "month"}]})
    till.spend(4, user="ann", ref=ModelRef("beta", "m"))
    till.spend(4, user="bob")
    till.spend(4, user="ann")
    with pytest.raises(BudgetExceeded):
        till.take(2, user="ann")


async def test_a_threshold_is_told_once_per_window():
    till = Till({"daily_limit": 10, "alert_threshold": 0.5})
    for _ in range(4):
        till.spend(2)
    assert [(alert.threshold, alert.spent) for alert in till.alerts] == [(0.5, 6)]
    for _ in range(3):
        with pytest.raises(BudgetExceeded):
            till.take(3)
    assert [alert.threshold for alert in till.alerts] == [0.5, 1.0]
    assert till.alerts[1].resets_at == START.replace(day=21, hour=0)
    till.clock.time += timedelta(days=1)
    till.spend(10)
    assert [alert.threshold for alert in till.alerts] == [0.5, 1.0, 1.0]


async def test_one_call_that_is_far_too_dear_is_no_alert():
    till = Till({"daily_limit": 10})
    with pytest.raises(BudgetExceeded):
        till.take(11)
    assert till.alerts == []


async def test_an_edited_amount_counts_for_the_next_attempt_and_keeps_what_was_spent():
    till = Till({"daily_limit": 10})
    under_way = till.take(6)
    till.configure({"daily_limit": 8})
    with pytest.raises(BudgetExceeded, match="of 8 are spent and 6 held"):
        till.take(3)
    till.settle(under_way, 6)
    till.configure({"daily_limit": 20, "monthly_budget": 30})
    assert await till.standing() == {"daily_limit": (6, 0), "monthly_budget": (6, 0)}
    till.configure({})
    till.spend(50)
    till.configure({"daily_limit": 60})
    assert await till.standing() == {"daily_limit": (56, 0)}, "what the ledger remembers counts"


async def test_an_attempt_that_began_before_its_budget_is_booked_in_it_once():
    till = Till({"daily_limit": 10})
    row = till.take(4)
    till.configure({"daily_limit": 10, "limits": {"alpha_daily": 5}})
    till.settle(row, 4)
    assert await till.standing() == {"daily_limit": (4, 0), "limits.alpha_daily": (4, 0)}
    with pytest.raises(BudgetExceeded, match="alpha_daily"):
        till.take(2)


async def test_another_currency_is_another_budget():
    till = Till({"daily_limit": 10})
    till.spend(9)
    till.configure({"daily_limit": 10, "currency": "EUR"})
    assert await till.standing() == {"daily_limit": (0, 0)}


async def test_accounts_of_windows_long_gone_are_forgotten():
    till = Till({"limits": [{"scope": {"user": "*"}, "amount": 5, "period": "day"}]})
    for day in range(30):
        till.clock.time = START + timedelta(days=day)
        for user in range(20):
            till.spend(1, user=f"u{day}-{user}")
    (budget,) = till.purse.budgets
    assert sum(len(list(budget.accounts(START + timedelta(days=day)))) for day in range(30)) <= 4 * 20


PER_USER = {"limits": [{"scope": {"user": "*"}, "amount": 5, "period": "day"}]}


def test_S63_accounts_without_money_make_room_and_those_with_money_stay(monkeypatch):
    """Nobody fills the memory by inventing users, and nobody gets his budget back that way either."""
    monkeypatch.setattr(budgets, "USERS_KEPT", 10)
    till = Till(PER_USER)
    till.spend(4, user="ann")
    for number in range(200):
        till.purse.release(till.take(1, user=f"free-{number}").attempt_id)
    with pytest.raises(BudgetExceeded, match="of this user: 4 USD of 5 are spent"):
        till.take(2, user="ann")
    (budget,) = till.purse.budgets
    assert len(list(budget.accounts(till.clock.time))) <= 10


def test_S63_users_beyond_what_memory_holds_are_refused_until_the_window_ends(monkeypatch):
    """A hard budget that cannot be counted is not held by guessing; what was under way is booked all the same."""
    monkeypatch.setattr(budgets, "USERS_KEPT", 3)
    till = Till(PER_USER)
    for user in ("ann", "ben", "cat"):
        till.spend(1, user=user)
    with pytest.raises(BudgetExceeded, match=r"users have spent something this day.*sqlite") as refused:
        till.take(1, user="dan")
    till.spend(1, user="ann")
    till.clock.time = refused.value.resets_at
    till.spend(1, user="dan")


def test_accounts_in_use_are_never_forgotten(monkeypatch):
    """What an attempt holds is given back to the account that it was taken from."""
    monkeypatch.setattr(budgets, "USERS_KEPT", 3)
    till = Till(PER_USER)
    row = till.take(5, user="ann")
    for number in range(20):
        till.purse.release(till.take(1, user=f"u{number}").attempt_id)
    with pytest.raises(BudgetExceeded):
        till.take(1, user="ann")
    till.purse.release(row.attempt_id)
    till.take(5, user="ann")
