"""When a crashed worker may start again (WK-02)."""

import random

import pytest

from core.llm.transport.process_restart import RestartLog, RestartPolicy


class NoJitter(random.Random):
    def random(self) -> float:
        return 0.0


@pytest.fixture
def log():
    """A log without jitter."""
    return RestartLog(RestartPolicy(), NoJitter())


def test_the_wait_doubles_from_half_a_second_to_thirty_WK02(log):
    """0.5, 1, 2, 4, 8, 16, 30, 30 seconds."""
    waits = []
    for number in range(8):
        log.refused(now=number * 100.0)
        waits.append(log.wait(number * 100.0))
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_worker_that_never_becomes_ready_waits_thirty_seconds_for_ever_WK02(log):
    """A day of refused starts changes nothing."""
    for number in range(3000):
        log.refused(now=number * 30.0)
    assert log.wait(2999 * 30.0) == 30


def test_jitter_shortens_a_wait_by_at_most_half():
    """Workers that crashed together do not come back together."""
    rng = random.Random(1)
    waits = set()
    for _ in range(200):
        log = RestartLog(RestartPolicy(), rng)
        log.crashed(10.0)
        waits.add(log.wait(10.0))
    assert len(waits) > 100
    assert min(waits) >= 0.25
    assert max(waits) <= 0.5


def test_six_crashes_within_a_minute_are_the_end_WK02(log):
    """More than five within sixty seconds: it is not started again."""
    for second in range(5):
        log.crashed(float(second))
    assert not log.gave_up
    log.crashed(5.0)
    assert log.gave_up


def test_six_crashes_over_a_longer_time_are_not(log):
    """A worker that crashes every 20 s is restarted for ever."""
    for number in range(12):
        log.crashed(number * 20.0)
    assert not log.gave_up


def test_a_minute_of_health_forgets_earlier_crashes_WK02(log):
    """The next crash is treated as the first."""
    for second in range(4):
        log.crashed(float(second))
    log.ready(10.0)
    log.crashed(71.0)
    assert log.wait(71.0) == 0.5


def test_a_short_life_does_not_forget(log):
    """A worker that comes up and dies again and again still backs off."""
    log.crashed(0.0)
    log.ready(1.0)
    log.crashed(2.0)
    assert log.wait(2.0) == 1.0


def test_a_refused_start_waits_but_never_counts_as_a_crash(log):
    """A model file that cannot be loaded does not put the worker out of service for good."""
    for second in range(20):
        log.refused(float(second))
    assert log.wait(20.0) > 1
    assert not log.gave_up


def test_forgetting_allows_an_immediate_start(log):
    """An explicit load overrules the back-off."""
    for second in range(6):
        log.crashed(float(second))
    log.forget()
    assert not log.gave_up
    assert log.wait(6.0) == 0
