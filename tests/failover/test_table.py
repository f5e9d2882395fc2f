"""Sixteen situations in four wire formats, streaming and not: the required behaviour in every cell."""

import pytest

from scripts.failover_bench.clients import core_llm
from scripts.failover_bench.run import Cell, run_cell
from scripts.failover_bench.situations import BROKEN_AFTER, SITUATIONS
from tests.chaos.suites.measure import LoopLag
from tests.failover.cells import DIALECTS, NOT_WITHOUT_STREAMING, RETRY, TIMES, cells, name_of

FLAP = "S15"
MID_STREAM = frozenset({"S08", "S09", "S10", "S14"})
"""Where a stream breaks after its first output."""


STOOD = 0.25
"""Seconds without a turn of the loop after which a cell, twenty times faster than real, has measured the machine."""


async def _ended(cell, verdict: str, **setup) -> Cell:
    """How *cell* ends; played again where it does not end with *verdict* and the machine stood still meanwhile."""
    situation, dialect, stream = cell
    for _ in range(5):
        async with LoopLag() as lag:
            client = core_llm(dialect, retry={"max_retries": 2, **RETRY}, health_check={"enabled": False}, **setup)
            done = await run_cell(situation, client, stream=stream, times=TIMES, dialect=dialect)
        if done.verdict == verdict or lag.stood < STOOD:
            break
    assert done.verdict == verdict, f"{done.verdict}: {'; '.join(done.notes)}\n{done.report}"
    return done


def _breaks(cell) -> bool:
    """Whether a stream of *cell* breaks in its midst."""
    return cell[2] and cell[0].id in MID_STREAM


@pytest.mark.parametrize("cell", [one for one in cells() if _breaks(one)], ids=name_of)
async def test_S08_S09_S10_S14_never_show_a_broken_stream_as_success(cell) -> None:
    """Where no policy says otherwise the caller gets an error that carries what was delivered, and nothing is repeated."""
    done = await _ended(cell, "safe", mid_stream="error")
    assert done.delivered == BROKEN_AFTER
    assert (done.primary_requests, done.spare_requests) == (1, 0)


@pytest.mark.parametrize("cell", [one for one in cells() if one[0].id != FLAP], ids=name_of)
async def test_S01_to_S14_and_S16_pass(cell) -> None:
    """The caller gets what the situation asks for, and the servers see no more than they should."""
    await _ended(cell, "pass")


@pytest.mark.parametrize("cell", [one for one in cells() if one[0].id == FLAP], ids=name_of)
async def test_S15_an_outage_costs_five_requests_and_the_primary_is_used_again(cell, fast_breaker) -> None:
    """Every call of the outage is answered by the fallback; soon after its end the primary answers again."""
    done = await _ended(cell, "pass")
    assert done.primary_requests <= 5


def test_the_table_is_whole() -> None:
    """Sixteen situations in four formats and two modes, less those that streams alone know, each with its reason."""
    assert [one.id for one in SITUATIONS] == [f"S{number:02}" for number in range(1, 17)]
    assert sorted(NOT_WITHOUT_STREAMING) == ["S07", "S11", "S14"]
    assert all(len(reason.split()) > 4 for reason in NOT_WITHOUT_STREAMING.values())
    assert len(cells()) == 16 * len(DIALECTS) * 2 - len(NOT_WITHOUT_STREAMING) * len(DIALECTS) == 116
