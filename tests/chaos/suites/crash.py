"""A host that is killed at random moments, again and again: it starts again, and its ledger has every call."""

import asyncio
import json
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.llm.accounting.ledger import UsageLedger
from core.llm.providers.config.models.service import StateOptions
from tests.chaos.hosting import ROOT
from tests.chaos.suites.measure import Result
from tests.chaos.suites.scale import server


@dataclass(frozen=True)
class Crash:
    """How often, and how long a host lives at most."""

    rounds: int = 25
    longest: float = 0.6


async def crash(options: Crash, seed: int) -> Result:
    """SIGKILL, start again, count: every answered call is in the ledger once, and no row stays open."""
    result, rng = Result("crash", seed), random.Random(seed)
    acknowledged: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        async with server(0.005, 0, 0) as (url, process):
            for _ in range(options.rounds):
                told = await _life(url, path, rng.uniform(0.05, options.longest), result)
                acknowledged += [line["answered"] for line in told if "answered" in line]
            process.stdin.close()
            served = int((await process.stdout.read()).split()[-1])
            await process.wait()
        ledger = UsageLedger(lambda: StateOptions(backend="sqlite", path=str(path)))
        await ledger.start()
        rows = await ledger.rows(limit=1_000_000)
        await ledger.stop()
    result.calls = len(acknowledged)
    # Its row was there before the request was sent; how the call ended may have been lost with the host.
    kept = {row.call_id for row in rows}
    result.lost = len(set(acknowledged) - kept)
    result.need(len({row.attempt_id for row in rows}) == len(rows), "an attempt is in the ledger twice")
    still_open = sum(row.state == "open" for row in rows)
    result.need(not still_open, f"{still_open} rows are still open after the restart")
    certain = sum(row.state == "settled" for row in rows)
    result.need(
        certain <= served <= len(rows),
        f"the server answered {served}, the ledger has {len(rows)} rows, {certain} of them settled",
    )
    result.wrong = len(result.complaints)
    return result


async def _life(url: str, path: Path, seconds: float, result: Result) -> list[dict[str, object]]:
    """One host from its start to its end by SIGKILL; what it said."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "tests.chaos.suites.crash_host", url, str(path)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe, stderr=pipe)
    first = await asyncio.wait_for(process.stdout.readline(), 60)
    if not first:
        result.need(False, f"a host did not start again: {(await process.stderr.read()).decode()[-500:]}")
        await process.wait()
        return []
    reading = asyncio.create_task(process.stdout.read())
    await asyncio.sleep(seconds)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    lines = (await reading).decode().splitlines()
    await process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    result.need(not alive, f"{len(alive)} children have outlived their host")
    # The last line may have been cut by the kill.
    return [json.loads(line) for line in [first.decode(), *lines] if line.endswith(("}", "}\n"))]
