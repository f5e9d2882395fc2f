"""F124, F125: every public coroutine, cancelled wherever it waits, once and twice, leaves nothing behind."""

import os
from pathlib import Path
from typing import Any

import pytest

from core.container import ContainerState
from core.llm.testing import FaultPlan, Rule
from core.llm.testing.fault_plan import refuse
from core.llm.testing.sweep import cancel_sweep
from tests.leaks import Resources, assert_nothing_left
from tests.sweep import calls, components
from tests.sweep.public import CONTRACTS, TABLE, Scenario, public_coroutines
from tests.sweep.test_service_sweep import Halting
from tests.sweep.world import application

pytestmark = pytest.mark.leakcheck

MOST = int(os.environ.get("CORE_LLM_SWEEP", "24"))
"""Second cancellations for each first one; `CORE_LLM_SWEEP=1000` tries them all."""


def of(module: Any) -> list[Scenario]:
    """The scenarios of *module*, each once."""
    return sorted({one for one in TABLE.values() if one.__module__ == module.__name__}, key=lambda one: one.__name__)


def test_every_public_coroutine_has_a_scenario() -> None:
    """Whatever is exported and awaited is in the table, or is a contract that others implement."""
    found = {name for name in public_coroutines() if not {name, name.partition(".")[0]} & CONTRACTS.keys()}
    assert found - TABLE.keys() == set(), "exported, and never cancelled by a test: add it to a scenario"
    assert TABLE.keys() - found == set(), "a scenario for what is not there"
    assert len(found) > 70


async def sweep(scenario: Scenario, plan: FaultPlan | None = None, state: Path | None = None) -> tuple[int, int]:
    """Cancel *scenario* everywhere; returns the number of runs, and of requests at the two servers."""
    runs = 0
    async with application(plan, state) as app:
        async for point in cancel_sweep(lambda: scenario(app, app.number), prepare=app.prepare, most=MOST):
            runs += 1
            await app.check(point)
        await app.check_accounts()
        return runs, len(app.faults.timeline)


@pytest.mark.parametrize("scenario", of(calls), ids=lambda one: one.__name__)
async def test_F124_F125_I1_I3_I4_I6_I8_cancelled_anywhere_twice(scenario: Scenario) -> None:
    """Over real connections: every call ends once, every request has one closed row, and nothing is held."""
    runs, _ = await sweep(scenario)
    assert runs >= (1 if scenario is calls.read_ledger else 2)  # in memory there is nothing to wait for


@pytest.mark.parametrize(
    "scenario", [calls.generate, calls.stream_left, calls.read_ledger], ids=lambda one: one.__name__
)
async def test_F124_F125_I3_cancelled_while_the_ledger_writes(scenario: Scenario, tmp_path: Path) -> None:
    """Where rows are kept in a file, a call waits for that too."""
    runs, _ = await sweep(scenario, state=tmp_path / "state.db")
    assert runs >= 3


@pytest.mark.parametrize("scenario", [calls.generate, calls.stream, calls.client], ids=lambda one: one.__name__)
async def test_F124_F125_I3_cancelled_between_a_failure_and_the_next_provider(scenario: Scenario) -> None:
    """While it backs off, asks again, and moves on."""
    runs, requests = await sweep(scenario, FaultPlan(Rule(refuse(503))))
    assert runs >= 8
    assert requests > runs


@pytest.mark.parametrize("scenario", of(components), ids=lambda one: one.__name__)
async def test_F124_F125_F128_a_cancelled_start_or_stop_leaves_nothing(scenario: Scenario) -> None:
    """A start that is cancelled is rolled back, a stop goes on; the container ends, with all that it began."""
    settings: list[components.Setting] = []
    before = Resources.now()

    async def prepare() -> None:
        settings.append(components.Setting())

    runs = 0
    async for point in cancel_sweep(lambda: scenario(settings[-1], 0), prepare=prepare, most=MOST):
        runs += 1
        setting = settings.pop()
        await setting.container.stop()
        assert setting.container.state in {ContainerState.STOPPED, ContainerState.FAILED}, point
        assert Halting.open_connections == 0, point
        await assert_nothing_left(before)
        assert point.hit == (point.ending == "cancelled") or point.ending == "returned", point
    assert runs >= 4
