"""The machine that stops sending to what keeps failing, and finds out when it is back."""

import math
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.llm.pipeline.breaker import Admission, Breaker, failures_needed
from core.llm.providers.config.models.limits import SlowCallOptions

LATE = SlowCallOptions(calls=1, share=0.000001)


class BreakerModel(RuleBasedStateMachine):
    """The breaker beside a model in plain words, under any order of calls beginning and ending."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.rng = random.Random(1)
        self.now = 0.0
        self.running: list[Admission] = []
        """How each attempt under way was admitted."""
        self.state = "closed"
        self.row = 0
        self.results: list[tuple[float, bool]] = []
        self.good = 0
        self.slow = False
        self.back_since = -math.inf
        self.most_running = 0

    def probing(self) -> bool:
        return "probe" in self.running

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def an_attempt_begins(self) -> None:
        if self.state == "open" and self.now >= self.breaker.open_until:
            self.state, self.good = "half_open", 0
        expected = {"closed": "call", "open": None, "half_open": None if self.probing() else "probe"}[self.state]
        if self.state == "closed" and self.now < self.back_since + 10.0:
            share = 0.25 if self.now < self.back_since + 5.0 else 0.5
            if len(self.running) >= max(4, math.ceil(share * self.most_running)):
                expected = None
        elif expected == "call":
            self.most_running = max(self.most_running, len(self.running) + 1)
        admission = self.breaker.admit(self.now)
        assert admission == expected
        if admission is not None:
            self.running.append(admission)

    @precondition(probing)
    @rule()
    def the_probe_begins_to_stream(self) -> None:
        self.running[self.running.index("probe")] = "beside"
        before = self.state
        changed = self.breaker.began(self.now)
        self._good_probe()
        assert changed == (self.state != before)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), late=st.booleans())
    def an_attempt_is_answered(self, data: st.DataObject, late: bool) -> None:
        """Every late answer is one too many here."""
        index = data.draw(st.integers(0, len(self.running) - 1))
        admission = self.running[index]
        opened = self.breaker.timed(self.now, self.rng, admission, LATE, 1.0, late=late)
        if late and admission == "probe":
            self.running[index] = "beside"
        state = {"call": "closed", "probe": "half_open", "beside": "none"}[admission]
        assert opened == (late and self.state == state)
        if opened:
            self.state, self.slow = "open", True
        assert bool(self.breaker.slow) == self.slow

    @rule()
    def a_slow_one_is_asked_all_the_same(self) -> None:
        if self.breaker.slow:
            self.running.append(self.breaker.beside())

    @rule()
    def a_check_passes(self) -> None:
        self.breaker.try_soon(self.now)

    @rule(seconds=st.floats(0.0, 60.0))
    def a_check_fails(self, seconds: float) -> None:
        self.breaker.hold(self.now + seconds)

    @rule()
    def nobody_else_is_left(self) -> None:
        granted = self.breaker.try_early(self.now)
        assert not granted or self.state == "open"

    @precondition(lambda self: self.running)
    @rule(data=st.data(), end=st.sampled_from(["good", "bad", "bad", "given up"]))
    def an_attempt_ends(self, data: st.DataObject, end: str) -> None:
        admission = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        if end == "given up":
            self.breaker.released(admission)
            return
        if end == "good":
            changed = self.breaker.succeeded(self.now, admission)
        else:
            changed = self.breaker.failed(self.now, self.rng, admission)
        before = self.state
        if admission == "probe" and end == "good":
            self._good_probe()
        elif self.state == "closed":
            self._note(good=end == "good")
        elif self.state == "half_open" and end == "bad" and admission != "call":
            self.state, self.slow = "open", False
        assert changed == (self.state != before)

    def _good_probe(self) -> None:
        if self.state == "half_open":
            self.good += 1
            if self.good == Breaker.PROBES_TO_CLOSE:
                back_since = -math.inf if self.slow else self.now
                self.state, self.row, self.results, self.back_since, self.slow = "closed", 0, [], back_since, False

    def _note(self, *, good: bool) -> None:
        earlier = [one for _, one in self.results][-64:]
        self.results.append((self.now, good))
        if good:
            self.row = 0
            return
        self.row += 1
        earlier = [one for _, one in self.results][-64:][: -self.row]
        needed = failures_needed(3, earlier.count(False), len(earlier))
        recent = [one for when, one in self.results if when >= self.now - Breaker.WINDOW]
        bad = len(recent) >= 20 and recent.count(False) >= len(recent) / 2
        if self.row >= needed or bad:
            self.state, self.slow = "open", False

    @invariant()
    def the_states_agree(self) -> None:
        assert self.breaker.state == self.state
        assert self.breaker.in_flight == len(self.running)

    @invariant()
    def F94_at_most_one_probe_is_out(self) -> None:
        assert self.running.count("probe") <= 1

    @invariant()
    def it_never_stays_open_for_ever(self) -> None:
        assert self.breaker.open_until <= self.now + 100.0


TestBreakerModel = BreakerModel.TestCase
TestBreakerModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def opened(now: float = 0.0, seed: int = 0) -> Breaker:
    """A breaker that has just opened."""
    state = Breaker()
    for _ in range(Breaker.CONSECUTIVE):
        fail(state, now, seed)
    assert state.state == "open"
    return state


def fail(state: Breaker, now: float, seed: int = 0) -> bool:
    """One attempt that is admitted and fails; whether that opened it."""
    admission = state.admit(now)
    assert admission is not None
    return state.failed(now, random.Random(seed), admission)


def answer(state: Breaker, now: float) -> bool:
    """One attempt that is admitted and answered; whether that closed it."""
    admission = state.admit(now)
    assert admission is not None
    return state.succeeded(now, admission)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("every", [0.01, 0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("answered_before", [0, 1, 500])
def test_F33_F94_an_outage_of_a_minute_costs_five_attempts_although_only_calls_can_find_out_that_it_is_over(
    seed: int, every: float, answered_before: int
) -> None:
    """Whatever the rate of the calls and the luck of the jitter, and traffic is back within ten seconds."""
    state, rng = Breaker(), random.Random(seed)
    began = rng.uniform(0.0, 100.0)
    now = began - every * answered_before
    for _ in range(answered_before):
        answer(state, now)
        now += every
    now = began + rng.uniform(0.0, every)
    attempts = 0
    while now < began + 60.0:
        admission = state.admit(now)
        if admission is not None:
            attempts += 1
            state.failed(now, rng, admission)
        now += every
    assert attempts <= 5
    while state.admit(now) is None:
        now += every
    assert now - (began + 60.0) <= 10.0


@pytest.mark.parametrize("length", [1.0, 4.0, 15.0, 30.0, 45.0, 90.0, 300.0])
def test_an_outage_of_any_length_ends_within_half_a_minute_of_the_recovery(length: float) -> None:
    """The price of few attempts: who cannot be asked for free is asked every half minute."""
    for seed in range(50):
        state, rng, now = Breaker(), random.Random(seed), 0.0
        while now < length:
            admission = state.admit(now)
            if admission is not None:
                state.failed(now, rng, admission)
            now += 0.1
        while state.admit(now) is None:
            now += 0.1
        assert now - length <= 31.0


def test_the_plan_of_probes_is_counted_from_the_first_failure() -> None:
    """About 5, 33, 62 and 90 seconds after it, however long the attempts take and whenever calls come."""
    state, rng = opened(1000.0), random.Random(3)
    for low, high in [(4.0, 6.0), (32.0, 34.1), (60.5, 62.6), (89.0, 91.1)]:
        assert low <= state.open_until - 1000.0 <= high
        now = state.open_until + 0.7
        admission = state.admit(now)
        assert admission == "probe"
        state.failed(now, rng, admission)


def test_a_probe_that_outlasts_the_plan_is_followed_by_a_pause_all_the_same() -> None:
    """A server that holds every request for a minute is not asked without a break."""
    state = opened(0.0)
    assert state.admit(10.0) == "probe"
    state.failed(110.0, random.Random(1), "probe")
    assert state.open_until >= 114.0


def test_who_answers_probes_but_not_three_in_a_row_is_tried_again_soon_and_then_less_often() -> None:
    """5, 10, 20 and at last 28.5 seconds, give or take a fifth: it lives, but it is not well."""
    state, now, lengths = opened(0.0), 0.0, []
    for _ in range(5):
        now = state.open_until
        assert not answer(state, now)
        fail(state, now)
        lengths.append(state.open_until - now)
    for length, middle in zip(lengths, [5.0, 10.0, 20.0, 28.5, 28.5], strict=True):
        assert 0.8 * middle <= length <= 1.2 * middle


def test_who_has_not_been_well_for_a_day_is_tried_as_often_as_ever() -> None:
    """A call that is the probe gets an answer or an error of the provider, however long that has gone on."""
    state, began = opened(0.0), 0.0
    while state.open_until < 86_400.0:
        began = state.open_until
        answer(state, began)
        fail(state, began)
    assert 0.8 * Breaker.LONGEST_OPEN <= state.open_until - began <= 1.2 * Breaker.LONGEST_OPEN


@pytest.mark.parametrize(
    ("failures", "results", "needed"),
    [(0, 0, 3), (0, 64, 3), (1, 64, 3), (2, 64, 4), (6, 64, 5), (13, 64, 8), (32, 64, 10), (64, 64, 3), (1, 1, 3)],
)
def test_more_failures_in_a_row_are_needed_of_one_who_fails_often(failures: int, results: int, needed: int) -> None:
    """Three of one who never fails; eight of one who fails one time in five."""
    assert failures_needed(3, failures, results) == needed


def test_F90_one_failure_in_five_opens_nothing_once_it_is_known() -> None:
    """An hour at two attempts a second, after a minute in which it was learnt."""
    for seed in range(5):
        state, rng = Breaker(), random.Random(seed)
        opens, now = [], 0.0
        while now < 3600.0:
            now += 0.5
            admission = state.admit(now)
            if admission is None:
                continue
            if rng.random() < 0.2:
                if state.failed(now, rng, admission) and admission == "call":
                    opens.append(now)
            else:
                state.succeeded(now, admission)
        assert len([when for when in opens if when > 60.0]) <= 1


def test_half_of_twenty_failures_within_half_a_minute_open_it_too() -> None:
    """Who fails every other time never fails three times in a row, and is left alone all the same."""
    state, now = Breaker(), 0.0
    while state.state == "closed":
        answer(state, now)
        if fail(state, now):
            break
        now += 1.0
    assert now == 9.0


def test_failures_that_lie_far_apart_open_nothing_by_their_share() -> None:
    """Two failures a minute, with an answer between them, are within the window one at a time."""
    state = Breaker()
    for minute in range(60):
        answer(state, 60.0 * minute)
        assert not fail(state, 60.0 * minute + 30.0)


def test_F94_after_closing_the_load_comes_back_in_steps() -> None:
    """A quarter of what ran at once before, after five seconds half of it, after ten all."""
    state = Breaker()
    for _ in range(40):
        assert state.admit(0.0) == "call"
    for _ in range(40):
        state.released("call")
    for _ in range(3):
        fail(state, 0.0)
    now = state.open_until
    for _ in range(3):
        answer(state, now)

    def room(when: float) -> int:
        taken = 0
        while taken < 100 and state.admit(when) is not None:
            taken += 1
        for _ in range(taken):
            state.released("call")
        return taken

    assert [room(now + after) for after in (0.0, 4.9, 5.1, 9.9, 10.1)] == [10, 10, 20, 20, 100]


def test_a_small_load_is_not_held_back_after_closing() -> None:
    """Up to four at once: there is nothing to protect the server from."""
    state = opened(0.0)
    now = state.open_until
    for _ in range(3):
        answer(state, now)
    assert [state.admit(now) for _ in range(5)] == ["call"] * 4 + [None]
    assert state.wait(now) == pytest.approx(10.0)


def test_F92_one_probe_out_of_turn_is_granted_now_and_then_and_changes_no_plan() -> None:
    """Where everybody is left alone, one is asked early; ten seconds lie between two such questions."""
    state = opened(0.0)
    fail(state, state.open_until)
    planned, asked = state.open_until, []
    for tenth in range(50, 320):
        now = tenth / 10
        if state.try_early(now):
            asked.append(now)
            assert state.admit(now) == "probe"
            assert state.admit(now) is None
            state.failed(now, random.Random(0), "probe")
    assert len(asked) == 2
    assert asked[1] - asked[0] >= Breaker.PANIC_INTERVAL
    assert state.open_until == planned
    assert state.admit(planned) == "probe"


def test_nobody_is_tried_early_who_is_not_left_alone() -> None:
    """A closed breaker and one that is half open need no panic."""
    state = Breaker()
    assert not state.try_early(100.0)
    state = opened(0.0)
    state.admit(state.open_until)
    assert not state.try_early(100.0)


def test_a_call_from_before_the_outage_is_no_probe() -> None:
    """When it ends late, neither its success nor its end lets a second probe out or closes anything."""
    state = Breaker()
    late = state.admit(0.0)
    assert late is not None
    for _ in range(Breaker.CONSECUTIVE):
        fail(state, 0.0)
    assert state.admit(7.0) == "probe"
    assert not state.succeeded(7.0, late)
    assert state.admit(7.0) is None
    assert (state.state, state.in_flight) == ("half_open", 1)


def test_a_probe_that_is_given_up_makes_room_for_the_next() -> None:
    """It says nothing, and must not block every later one."""
    state = opened(0.0)
    assert state.admit(7.0) == "probe"
    state.released("probe")
    assert state.admit(7.0) == "probe"
