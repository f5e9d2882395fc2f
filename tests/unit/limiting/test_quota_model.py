"""A quota against a list of all that was ever taken: whatever happens in whatever order, both say the same."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from core.llm.limiting.dimension import TOKENS, Amounts
from core.llm.limiting.queue import Lane, Reservation
from core.llm.limiting.quota import CELLS, MARGIN, MINUTE, Quota
from core.llm.limiting.slots import Slots

SPAN = MINUTE * (1 + MARGIN)
WIDTH = MINUTE / CELLS
amounts = st.integers(1, 1200)


class LimiterMachine(RuleBasedStateMachine):
    """Reserve, settle, cancel and let time pass, against a dictionary of reservations."""

    numbers = Bundle("numbers")

    @initialize()
    def begin(self) -> None:
        self.now = 1000.0
        self.tokens = Quota("tokens_per_minute", TOKENS, 1000.0, MINUTE, 1 / 6, self.now)
        self.slots = Slots("max_concurrency", 5)
        self.lane = Lane((self.slots, self.tokens))
        self.running: dict[int, Reservation] = {}
        self.taken: dict[int, tuple[float, float]] = {}
        self.number = 0

    @rule(target=numbers, amount=amounts)
    def reserve(self, amount: int) -> int:
        wants: Amounts = (1.0, 0.0, float(amount), float(amount))
        before = self.slots.used, self.tokens.total
        reservation = self.lane.reserve(wants, self.now)
        self.number += 1
        if reservation is None:
            assert (self.slots.used, self.tokens.total) == before, "nothing is taken where not all is"
            assert self.slots.used == 5 or self.tokens.wait(amount, self.now) > 0 or amount > 1000
        else:
            self.running[self.number] = reservation
            self.taken[self.number] = (self.now, float(amount))
        return self.number

    @rule(number=consumes(numbers), actual=st.one_of(st.none(), st.integers(0, 1500)))
    def settle(self, number: int, actual: int | None) -> None:
        reservation = self.running.pop(number, None)
        if reservation is None:
            return
        at, amount = self.taken[number]
        used = amount if actual is None else float(actual)
        for _ in range(2):  # the second time changes nothing
            reservation.settle(None if actual is None else (1.0, 0.0, used, used), self.now)
        self.taken[number] = (at, used)

    @rule(number=consumes(numbers))
    def cancel(self, number: int) -> None:
        reservation = self.running.pop(number, None)
        if reservation is not None:
            reservation.cancel(self.now)
            del self.taken[number]

    @rule(seconds=st.one_of(st.floats(0.001, 2.0), st.floats(10.0, 90.0)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(amount=amounts)
    def the_wait_is_neither_too_short_nor_too_long(self, amount: int) -> None:
        if amount > 1000 or self.tokens.left(self.now) < 0:
            return
        wait = self.tokens.wait(amount, self.now)
        if wait:
            assert not self.tokens.ready(amount, self.now)
        self.now += wait + 1e-6
        if sum(used for _, used in self.taken.values()) <= 1000:
            assert self.tokens.ready(amount, self.now)

    @invariant()
    def slots_are_the_running_calls(self) -> None:
        if hasattr(self, "slots"):
            assert self.slots.used == len(self.running)

    @invariant()
    def the_window_holds_what_was_taken_within_it(self) -> None:
        if not hasattr(self, "tokens"):
            return
        sure = sum(used for at, used in self.taken.values() if at > self.now - SPAN)
        at_most = sum(used for at, used in self.taken.values() if at > self.now - SPAN - WIDTH - 1e-9)
        held: Any = 1000.0 - self.tokens.left(self.now)
        assert min(1000.0, sure) - 1e-6 <= held <= at_most + 1e-6


TestLimiter = LimiterMachine.TestCase
TestLimiter.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
