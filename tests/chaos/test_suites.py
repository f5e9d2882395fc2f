"""The long suites in their short form: the same code for seconds instead of minutes. `make chaos` runs the long ones."""

import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest

from core.llm.pipeline.breaker import Breaker
from tests.chaos.suites import crash, scale, soak, storm
from tests.chaos.suites.measure import LoopLag, Result, table

pytestmark = pytest.mark.leakcheck
SEED = 7


@pytest.fixture(autouse=True)
def tuned() -> Iterator[None]:
    """As a host with many calls does: what start-up has made is not looked at again and again."""
    gc.freeze()
    yield
    gc.unfreeze()


STOOD = 0.25
"""Seconds without a turn of the loop after which a run has measured the machine."""


def passed(result: Result) -> None:
    """Fail with the line of the summary."""
    assert result.verdict == "pass", table([result])


async def weathered(storm: Callable[[], Awaitable[Result]]) -> None:
    """Run a storm. One in which the machine stood still is run again: its calls had no time, whoever is to blame."""
    for _ in range(5):
        result = await storm()
        if result.verdict == "pass" or result.stood < STOOD:
            break
    passed(result)


async def test_F89_an_outage_ends_without_a_storm(monkeypatch) -> None:
    """Few requests go to the dead server; when it is back, so are the calls."""
    monkeypatch.setattr(Breaker, "FIRST_OPEN", 0.3)
    monkeypatch.setattr(Breaker, "LONGEST_OPEN", 1.0)
    options = storm.Storm(rate=40, calm=1, outage=1.5, after=3.5, load=2.0, recovery=3.5)
    await weathered(lambda: storm.outage(options, SEED))


async def test_F90_one_request_in_five_fails_and_almost_no_call(monkeypatch) -> None:
    """Retries make up for it, and stay within their budget."""
    options = storm.Storm(rate=60, errors_for=4, success=0.97, load=1.5)
    await weathered(lambda: storm.errors(options, SEED))


async def test_F91_a_black_hole_is_left_alone() -> None:
    """The calls go to the other two, and take as long as before."""
    options = storm.Storm(rate=40, calm=1.5, hole_for=2, hole_latency=0.05, slower=10)
    await weathered(lambda: storm.black_hole(options, SEED))


async def test_F87_many_calls_at_once_and_many_streams() -> None:
    """None is lost, through a pool that is much smaller than their number."""
    short = scale.Scale(calls=600, streams=100, pool=50, pieces=5, gap=0.1, warm=600, lag=1.0, memory=0.5)
    passed(await scale.calls(short))
    passed(await scale.streams(short))


async def test_F132_a_host_is_killed_and_starts_again() -> None:
    """Every call that was answered is in the ledger, and nothing is in it twice."""
    passed(await crash.crash(crash.Crash(rounds=2), SEED))


async def test_a_soak_of_seconds() -> None:
    """Random weather, and all accounts agree at every stop."""
    passed(await soak.soak(soak.Soak(seconds=4, window=1.5, at_once=15, memory=1.0), SEED))


async def test_a_result_says_what_did_not_hold() -> None:
    """A summary that could not fail would say nothing."""
    result = Result("x", 1, calls=3)
    assert result.verdict == "pass"
    result.need(False, "too slow")
    assert result.verdict == "FAIL"
    assert "too slow" in table([result])
    assert Result("x", 1, lost=1).verdict == "FAIL"
    async with LoopLag() as lag:
        pass
    assert lag.percentile() == 0
