"""The budget of retries beside a model in plain words, under any order of calls, retries and pauses."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.llm.pipeline.backoff import RetryBudget


class BudgetModel(RuleBasedStateMachine):
    """A bucket of a hundred that begins with ten; a call puts a fifth in, a second one, and a retry takes one out."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.budget = RetryBudget(self.now)
        self.balance = 10.0
        self.calls = self.retries = 0

    @rule(seconds=st.one_of(st.just(0.0), st.floats(0.0, 200.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.balance = min(100.0, self.balance + seconds)

    @rule(count=st.integers(1, 50))
    def calls_begin(self, count: int) -> None:
        for _ in range(count):
            self.budget.deposit(self.now)
            self.balance = min(100.0, self.balance + 0.2)
        self.calls += count

    @rule(count=st.integers(1, 50))
    def retries_are_wanted(self, count: int) -> None:
        for _ in range(count):
            if abs(self.balance - 1.0) < 1e-6:
                # On the very edge both answers are right; time moves away from it.
                self.time_passes(0.1)
            granted = self.budget.withdraw(self.now)
            assert granted == (self.balance >= 1.0)
            self.balance -= granted
            self.retries += granted

    @invariant()
    def it_is_never_overdrawn(self) -> None:
        assert self.retries <= 10.0 + 0.2 * self.calls + self.now + 1e-6


TestBudgetModel = BudgetModel.TestCase
TestBudgetModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(("rate", "at_most"), [(1.0, 1.3), (100.0, 0.22), (1000.0, 0.21)])
def test_F33_whatever_fails_retries_stay_a_fraction_of_the_calls(rate: float, at_most: float) -> None:
    """A minute in which everything fails and every call wants two retries: a fifth of the calls, and one a second."""
    budget, calls, retries = RetryBudget(0.0), 0, 0
    for number in range(round(60 * rate)):
        now = number / rate
        budget.deposit(now)
        calls += 1
        retries += sum(budget.withdraw(now) for _ in range(2))
    assert retries <= at_most * calls + 10
