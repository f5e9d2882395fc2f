"""Several processes on one ledger spend one budget, and one of them is killed."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.llm.state.holds import Claim, Scope
from core.llm.state.rows import NANO
from core.llm.state.sqlite import SqliteStore
from tests.unit.llm.support import serving

PROCESSES, CALLS, AT_ONCE, LIMIT = 8, 100, 10, 400
PATIENCE = 120.0


async def spend(folder: Path) -> None:
    """One process: calls that cost one unit each. Whatever is sent leaves a mark that outlives the process."""
    from core.llm.common.exceptions import BudgetExceeded
    from core.llm.common.types import Usage
    from core.llm.testing import ScriptedProvider

    marks = os.open(folder / "sent", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    plain = ScriptedProvider.generate

    async def generate(self, request):
        os.write(marks, b"x")
        await asyncio.sleep(0.002)
        return await plain(self, request)

    ScriptedProvider.generate = generate
    outcomes = {"answered": 0, "refused": 0}
    turns = asyncio.Semaphore(AT_ONCE)

    async def call(world) -> None:
        async with turns:
            try:
                await world.service.generate("hi", max_tokens=1000)
                outcomes["answered"] += 1
            except BudgetExceeded:
                outcomes["refused"] += 1

    async with serving(
        providers={"alpha": {"models": {"m": {"price": {"input": 0, "output": 1000}}}}},
        costs={"monthly_budget": LIMIT},
        state={"backend": "sqlite", "path": str(folder / "ledger.db")},
        seed=os.getpid(),  # calls of two processes have different ids
    ) as world:
        for _ in range(CALLS):
            world.alpha.will_answer("hi", usage=Usage(1, output=1000))
        await asyncio.gather(*(call(world) for _ in range(CALLS)))
    print(outcomes["answered"], outcomes["refused"])


async def gone(path: Path) -> tuple[int, int]:
    """Spent and held in units, as somebody sees it who opens the file."""
    store = SqliteStore(path)
    now = datetime.now(UTC)
    claim = Claim(Scope(), now - timedelta(days=1), now + timedelta(days=1), 0)
    await store.open()
    try:
        (standing,) = await store.standings([claim], "USD")
    finally:
        await store.close()
    return standing.spent // NANO, standing.held // NANO


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals a process, which this system does differently")
async def test_F156_F154_eight_processes_and_a_kill_spend_one_budget_and_no_more(tmp_path: Path) -> None:
    """Not one request more than the budget pays for, none less than it could, and the dead one's are accounted for."""
    program = f"import asyncio, pathlib, {__name__} as it; asyncio.run(it.spend(pathlib.Path({str(tmp_path)!r})))"
    sent = tmp_path / "sent"
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        async with asyncio.timeout(PATIENCE):
            while not sent.exists() or sent.stat().st_size < LIMIT // 4:
                await asyncio.sleep(0.01)
        running[0].kill()
        outputs = [(await asyncio.to_thread(process.communicate, timeout=PATIENCE))[0] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert [process.returncode for process in running[1:]] == [0] * (PROCESSES - 1)
    answered = sum(int(line.split()[0]) for line in outputs[1:])
    refused = sum(int(line.split()[1]) for line in outputs[1:])
    assert answered + refused == (PROCESSES - 1) * CALLS
    assert refused > 0, "the budget was used up"
    assert sent.stat().st_size <= LIMIT
    spent, held = await gone(tmp_path / "ledger.db")
    assert held == 0, "what the dead process held was booked, or given back where nothing was sent"
    assert spent >= sent.stat().st_size
    # Only what the dead process held and had not sent may be missing.
    assert LIMIT - AT_ONCE <= spent <= LIMIT
