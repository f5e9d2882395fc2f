"""What calls to one model have shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.routing.traffic import ERROR_HALF_LIFE, SPEED_HALF_LIFE, Average, Traffic


def test_the_first_sample_is_the_average() -> None:
    """Before it nothing is known, which is not the same as nothing."""
    average = Average(10.0)
    assert average.read(0.0) is None
    average.add(4.0, 1.0)
    assert average.read(1.0) == 4.0


def test_a_sample_that_follows_at_once_counts_a_fifth() -> None:
    """One outlier among many does not decide."""
    average = Average(10.0)
    average.add(1.0, 0.0)
    average.add(11.0, 0.0)
    assert average.read(0.0) == pytest.approx(3.0)


def test_what_is_not_used_is_forgotten_by_half_lives() -> None:
    """So a model that was slow once is tried again."""
    average = Average(10.0)
    average.add(8.0, 0.0)
    assert [average.read(now) for now in (10.0, 20.0, 30.0)] == [4.0, 2.0, 1.0]
    assert average.read(-5.0) == 8.0


def test_after_a_long_pause_a_new_sample_counts_more_than_the_old_ones() -> None:
    """After three half-lives seven eighths."""
    average = Average(10.0)
    average.add(8.0, 0.0)
    average.add(0.0, 30.0)
    assert average.read(30.0) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1000)), min_size=1, max_size=30))
def test_an_average_lies_between_what_was_measured_and_zero(samples: list[tuple[float, float]]) -> None:
    """Whatever comes when."""
    average, now = Average(10.0), 0.0
    for value, pause in samples:
        now += pause
        average.add(value, now)
        assert min(value for value, _ in samples) - 1e-9 <= (average.read(now) or 0.0) <= 100.0


def test_failures_count_as_a_share_and_say_nothing_about_speed() -> None:
    """A call that failed at once was not fast."""
    traffic = Traffic()
    traffic.answered(2.0, 0.0)
    traffic.failed(0.0)
    assert traffic.errors.read(0.0) == pytest.approx(0.2)
    assert traffic.errors.read(ERROR_HALF_LIFE) == pytest.approx(0.1)
    assert traffic.latency.read(0.0) == 2.0
    assert traffic.latency.read(SPEED_HALF_LIFE) == 1.0
