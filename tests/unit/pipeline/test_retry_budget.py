"""The budget of retries beside a model in plain words, under any order of calls, retries and pauses."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.llm.pipeline.backoff import RetryBudget


class BudgetModel(RuleBasedStateMachine):
    """A bucket of a hundred that begins with ten; a call puts a fifth in, a second one, a retry that helped a quarter,
    and each retry takes one out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.budget = RetryBudget(self.now)
        self.balance = 10.0
        self.calls = self.retries = self.helped = 0

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

    @precondition(lambda self: self.helped < self.retries)
    @rule()
    def a_retry_is_answered(self) -> None:
        self.budget.refund()
        self.balance = min(100.0, self.balance + 0.25)
        self.helped += 1

    @invariant()
    def it_is_never_overdrawn(self) -> None:
        assert self.retries <= 10.0 + 0.2 * self.calls + 0.25 * self.helped + self.now + 1e-6


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


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 1.0])
def test_F90_whatever_share_fails_the_load_stays_below_1_3_times_what_is_offered(share: float) -> None:
    """A hundred calls a second for a minute; up to one failure in five is hidden from nearly everybody."""
    budget, rng, sent, answered, calls = RetryBudget(0.0), random.Random(5), 0, 0, 6000
    for number in range(calls):
        now = number / 100
        budget.deposit(now)
        for attempt in range(3):
            if attempt and not budget.withdraw(now):
                break
            sent += 1
            if rng.random() >= share:
                answered += 1
                if attempt:
                    budget.refund()
                break
    assert sent <= 1.3 * calls
    if share <= 0.2:
        assert answered >= 0.99 * calls
