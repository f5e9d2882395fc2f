"""How many calls at a time: a fixed number, and one that an overload sets and answers raise."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.llm.limiting.dimension import ONE_REQUEST
from core.llm.limiting.queue import Lane
from core.llm.limiting.slots import AdaptiveSlots, Slots

START = 1000.0


def running(calls: int, slots: AdaptiveSlots | None = None) -> AdaptiveSlots:
    """Slots with so many calls in flight."""
    found = slots or AdaptiveSlots()
    while found.used < calls:
        found.take(1, START)
    return found


def test_a_fixed_number_is_held_until_the_end_of_the_call() -> None:
    """The third call waits until one of two has ended."""
    slots = Slots("max_concurrency", 2)
    slots.take(1, START)
    slots.take(1, START)
    assert not slots.ready(1, START)
    assert slots.wait(1, START) == math.inf
    slots.settle(None, 1, 0, START, START + 4)
    assert slots.ready(1, START + 4)


def test_the_expected_wait_comes_from_how_long_calls_took() -> None:
    """Behind three others on two slots, where calls take four seconds, it is about eight."""
    slots = Slots("max_concurrency", 2)
    slots.take(1, START)
    slots.settle(None, 1, 1, START, START + 4)
    slots.take(1, START)
    slots.take(1, START)
    slots.queued = 3
    assert slots.wait_behind(1, START + 5) == pytest.approx(8.0)


def test_nothing_is_limited_before_the_first_overload() -> None:
    """Ten thousand calls may run at a time."""
    slots = running(10_000)
    assert slots.ready(1, START)
    assert slots.headroom(START) == 1.0


def test_the_first_overload_cuts_to_seven_tenths_of_what_runs() -> None:
    """Whatever the number was, less was too much."""
    slots = running(100)
    assert slots.overloaded(START)
    assert slots.limit == pytest.approx(70)
    assert not slots.ready(1, START)


def test_it_is_cut_once_a_second_at_most() -> None:
    """A hundred calls that fail together are one overload."""
    slots = running(100)
    assert slots.overloaded(START)
    assert not slots.overloaded(START + 0.9)
    assert slots.overloaded(START + 1.0)
    assert slots.limit == pytest.approx(49)


def test_one_call_is_always_allowed() -> None:
    """However often it fails."""
    slots = running(1)
    for second in range(20):
        slots.overloaded(START + second)
    assert slots.limit == 1.0
    slots.settle(None, 1, 0, START, START + 20)
    assert slots.ready(1, START + 20)


def test_a_round_of_answers_raises_it_by_one() -> None:
    """Ten answers at ten slots make room for one more."""
    slots = running(10)
    slots.overloaded(START)
    slots.limit = 10.0
    for _ in range(10):
        slots.answered(START, 500)
    assert slots.limit == pytest.approx(11.0, abs=0.1)


def test_it_is_not_raised_while_it_is_not_made_use_of() -> None:
    """Answers to two calls say nothing about a limit of ten."""
    slots = running(2)
    slots.limit = 10.0
    slots.answered(START, 500)
    assert slots.limit == 10.0


def test_it_is_gone_once_it_is_no_less_than_the_connections() -> None:
    """A limit that can never be reached is none."""
    slots = running(20)
    slots.limit = 19.99
    slots.answered(START, 20)
    assert slots.limit == math.inf


def test_a_limit_nobody_came_near_for_a_minute_is_forgotten() -> None:
    """One slow call at night does not throttle the morning."""
    slots = running(1)
    slots.overloaded(START)
    slots.settle(None, 1, 0, START, START)
    assert slots.limit == 1.0
    assert slots.ready(1, START + 61)
    assert slots.limit == math.inf


def test_a_limit_that_calls_wait_for_is_not_forgotten() -> None:
    """Long calls fill all slots; whoever asks meanwhile keeps the limit alive, and is let in in the end."""
    slots = running(10)
    slots.overloaded(START)
    for minute in range(1, 4):
        assert not slots.ready(1, START + 50 * minute)
    assert slots.limit == pytest.approx(10)


def test_calls_that_do_not_end_keep_nobody_out_for_good() -> None:
    """A stream that somebody reads for an hour says nothing about the load: every few seconds one more may begin."""
    slots = running(2)
    assert slots.overloaded(START)
    slots.settle(None, 1, 1, START, START)
    assert (slots.used, slots.ready(1, START)) == (1, False)
    assert slots.wait(1, START) == AdaptiveSlots.PATIENCE
    later = START + AdaptiveSlots.PATIENCE
    assert slots.ready(1, later)
    slots.take(1, later)
    assert not slots.ready(1, later + AdaptiveSlots.PATIENCE - 0.1)
    assert slots.ready(1, later + AdaptiveSlots.PATIENCE)


def test_looking_raises_nothing() -> None:
    """Whoever explains calls every few seconds must not open a provider that is overloaded ever wider."""
    slots = running(10)
    slots.overloaded(START)
    lane = Lane((slots,))
    for seconds in range(10, 60, 10):
        assert not lane.has_room(ONE_REQUEST, START + seconds)
        lane.longest(ONE_REQUEST, START + seconds)
    assert slots.limit == pytest.approx(7.0)


def test_while_calls_end_only_their_answers_raise_it() -> None:
    """Who is overloaded and slow gets no more than a round of answers allows."""
    slots = running(10)
    assert slots.overloaded(START)
    for second in range(60):
        slots.settle(None, 1, 1, START, START + second)
        running(10, slots)
        assert not slots.ready(1, START + second + 0.5)
    assert slots.limit == 7.0


class AdaptiveMachine(RuleBasedStateMachine):
    """Calls begin, are answered, and find the provider overloaded, in any order."""

    @initialize()
    def begin(self) -> None:
        self.slots, self.now, self.cut_at = AdaptiveSlots(), START, -math.inf

    @rule(seconds=st.floats(0.01, 30.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def start(self) -> None:
        expected = self.slots.would_give(1, self.now)
        ready = self.slots.ready(1, self.now)
        assert ready is expected
        if ready:
            assert self.slots.used + 1 <= self.slots.limit
            self.slots.take(1, self.now)

    @precondition(lambda self: self.slots.used)
    @rule()
    def answer(self) -> None:
        before = self.slots.limit
        self.slots.answered(self.now, 500)
        assert self.slots.limit >= before
        assert self.slots.limit - before <= 1.0 or before == math.inf
        self.slots.settle(None, 1, 1, self.now, self.now)

    @precondition(lambda self: self.slots.used)
    @rule()
    def overload(self) -> None:
        before, used = self.slots.limit, self.slots.used
        if self.slots.overloaded(self.now):
            assert self.now - self.cut_at >= 1.0
            self.cut_at = self.now
            assert self.slots.limit == pytest.approx(max(1.0, 0.7 * min(before, used)))
        else:
            assert self.slots.limit == before
        self.slots.settle(None, 1, 0, self.now, self.now)

    @invariant()
    def there_is_always_a_way_back(self) -> None:
        if hasattr(self, "slots"):
            assert self.slots.limit >= 1.0
            assert self.slots.used >= 0
            assert 0.0 <= self.slots.headroom(self.now) <= 1.0


TestAdaptive = AdaptiveMachine.TestCase
TestAdaptive.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
