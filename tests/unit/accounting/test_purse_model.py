"""A budget against a plain model of it: whatever is taken, settled, given back, lost, edited or waited for."""

from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from core.llm.accounting.budgets import WINDOWS_KEPT
from core.llm.common.exceptions import BudgetExceeded
from core.llm.state.rows import NANO, AttemptRow
from tests.unit.accounting.spending import START, Till

COSTS = st.integers(0, 6)
USERS = st.sampled_from(("", "ann", "bob"))
PER_USER = [{"scope": {"user": "*"}, "amount": 9, "period": "day"}]


def day_of(moment: datetime) -> str:
    return moment.date().isoformat()


class BudgetMachine(RuleBasedStateMachine):
    """One budget for everything and one for each user, by day; a plain dictionary says what they must hold."""

    attempts = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.limit = 20
        self.days = {day_of(START)}
        self.till = Till({"daily_limit": self.limit, "limits": PER_USER})
        self.spent: dict[tuple[str, str], int] = {}
        self.held: dict[str, tuple[str, str, int]] = {}

    def gone(self, day: str, user: str | None = None) -> int:
        """Spent and held on *day*: by one user, or by everybody."""
        spent = sum(amount for (one, who), amount in self.spent.items() if one == day and user in {None, who})
        return spent + sum(held for one, who, held in self.held.values() if one == day and user in {None, who})

    @rule(target=attempts, amount=COSTS, user=USERS)
    def take(self, amount, user):
        day = day_of(self.till.clock.time)
        fits = self.gone(day) + amount <= self.limit and (not user or self.gone(day, user) + amount <= 9)
        try:
            row = self.till.take(amount, user=user)
        except BudgetExceeded:
            assert not fits, "a false block"
            return multiple()
        assert fits, "more than the limit"
        self.held[row.attempt_id] = (day, user, amount)
        return row

    @rule(row=attempts, share=st.sampled_from((0, 0.5, 1)))
    def settle(self, row: AttemptRow, share):
        """Also a second time, and long after."""
        held = self.held.pop(row.attempt_id, None)
        cost = int((held[2] if held else 99) * share)
        self.till.settle(row, cost)
        if held is not None:
            day, user, _ = held
            self.spent[day, user] = self.spent.get((day, user), 0) + cost

    @rule(row=consumes(attempts))
    def give_back(self, row: AttemptRow):
        """What was never sent, or has long been settled; nobody asks for it again."""
        self.held.pop(row.attempt_id, None)
        self.till.purse.release(row.attempt_id)
        row.closed = True

    @rule(hours=st.integers(-30, 30))
    def wait(self, hours):
        """Also backwards, as when a clock is set; over no more days than are remembered."""
        later = self.till.clock.time + timedelta(hours=hours)
        if len(self.days | {day_of(later)}) <= WINDOWS_KEPT:
            self.till.clock.time = later
            self.days.add(day_of(later))

    @rule(limit=st.integers(0, 30))
    def edit(self, limit):
        self.limit = limit
        self.till.configure({"daily_limit": limit, "limits": PER_USER})

    @invariant()
    def the_books_agree(self):
        now = self.till.clock.time
        day = day_of(now)
        everything, per_user = self.till.purse.budgets
        account = everything.find("", now)
        assert ((account.spent + account.held) // NANO if account else 0) == self.gone(day)
        for user in ("ann", "bob"):
            account = per_user.find(user, now)
            assert ((account.spent + account.held) // NANO if account else 0) == self.gone(day, user)


BudgetMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBudget = BudgetMachine.TestCase
