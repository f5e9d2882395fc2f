"""When a second request is worth sending, and how many there may be."""

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from core.llm.common.types import ModelRef
from core.llm.pipeline.hedge_timing import FirstOutputTimes, HedgeBudget, HedgeMemory


@given(st.lists(st.floats(0, 100), max_size=500))
def test_the_p95_is_that_of_the_latest_times(seconds: list[float]) -> None:
    """Of two hundred at most, and of none before there are twenty."""
    times = FirstOutputTimes()
    for one in seconds:
        times.learn(one)
    latest = sorted(seconds[-200:])
    assert len(times) == len(latest)
    assert times.p95() == (latest[ceil(0.95 * len(latest)) - 1] if len(latest) >= 20 else None)


def test_what_was_slow_long_ago_is_forgotten() -> None:
    """The oldest goes first, whatever its size."""
    times = FirstOutputTimes()
    for seconds in (*[10.0] * 100, *[5.0] * 100, *[1.0] * 200):
        times.learn(seconds)
    assert times.p95() == 1.0


@given(st.lists(st.booleans(), max_size=400), st.floats(0.01, 1.0))
def test_second_requests_stay_below_their_share(wishes: list[bool], share: float) -> None:
    """At every moment, from the first call on; what is saved up is bounded as well."""
    budget, spent = HedgeBudget(), 0
    for calls, wish in enumerate(wishes, 1):
        budget.call(share)
        if wish and budget.allows:
            budget.spend()
            spent += 1
        assert spent <= share * calls + 1e-6
    burst = 0
    for _ in range(10_000):
        budget.call(share)
    while budget.allows:
        budget.spend()
        burst += 1
    assert burst <= max(1, 100 * share + 1)


def test_s63_no_more_models_are_remembered_than_there_is_room_for() -> None:
    """The one that came first goes first."""
    memory = HedgeMemory()
    for number in range(5000):
        memory.times(ModelRef("p", str(number)), "stream").learn(1.0)
    assert len(memory._times) == 4096
    assert len(memory.times(ModelRef("p", "0"), "stream")) == 0


def test_streams_and_whole_answers_are_timed_apart() -> None:
    """A stream has begun long before an answer is whole."""
    memory = HedgeMemory()
    memory.times(ModelRef("p", "m"), "stream").learn(1.0)
    assert len(memory.times(ModelRef("p", "m"), "generate")) == 0
    assert memory.budget("fast") is memory.budget("fast")
