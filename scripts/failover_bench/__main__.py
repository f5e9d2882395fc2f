"""Sixteen failures, four clients, streaming and not: what the caller gets, and what the providers see.

Each client runs in a process of its own, with servers of its own, all at the same time.
"""

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import warnings
from dataclasses import asdict, replace
from pathlib import Path

from scripts.failover_bench.clients import CLIENTS, versions
from scripts.failover_bench.run import Cell, run_cell
from scripts.failover_bench.situations import SITUATIONS, Times
from scripts.failover_bench.table import text_of

TIMES = Times(timeout=6.0, first_token=2.0, retry_after=2.0, late=4.0, outage=60.0, back=10.0, prompt=6.0)
"""Nobody's back-off is shortened, nor is the outage; only the patience of 30 seconds and the late token are."""


async def measure(client: str, only: list[str], outage: float) -> dict[str, dict[str, object]]:
    """Every cell of one client."""
    times = replace(TIMES, outage=outage)
    found: dict[str, dict[str, object]] = {}
    for situation in SITUATIONS:
        if only and situation.id not in only:
            continue
        for stream in (True, False):
            if not stream and situation.whole is not None:
                continue
            print(f"{client} {situation.id} {'stream' if stream else 'whole'}", file=sys.stderr, flush=True)
            try:
                cell = await run_cell(situation, CLIENTS[client](), stream=stream, times=times)
            except Exception as error:  # noqa: BLE001 - one broken client must not end the others
                cell = Cell("fail", (f"the client broke: {type(error).__name__}: {error}",), 0, 0, 0, "")
            found[f"{situation.id}/{'stream' if stream else 'whole'}"] = asdict(cell)
    return found


def main() -> None:
    """Run all clients side by side, print the table, write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", nargs="+", default=list(CLIENTS), choices=list(CLIENTS))
    parser.add_argument("--only", nargs="*", default=[], help="situations, such as S08")
    parser.add_argument("--outage", type=float, default=TIMES.outage, help="seconds of S15")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        if given.measure == "core-llm":
            from loguru import logger

            logger.remove()
        print(json.dumps(asyncio.run(measure(given.measure, given.only, given.outage))))
        return
    again = [sys.executable, "-m", "scripts.failover_bench", "--outage", str(given.outage), "--only", *given.only]
    running = {
        client: subprocess.Popen([*again, "--measure", client], stdout=subprocess.PIPE, text=True)
        for client in given.clients
    }
    results = {}
    for client, process in running.items():
        output = process.communicate()[0]
        if process.returncode:
            raise SystemExit(f"{client} ended with {process.returncode}")
        results[client] = json.loads(output.strip().splitlines()[-1])
    text = text_of(results, versions())
    print(text)
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    (folder / "failover.txt").write_text(text)
    (folder / "failover.json").write_text(json.dumps({"versions": versions(), "results": results}, indent=1))
    print(f"written to {folder}/failover.txt and failover.json")


if __name__ == "__main__":
    main()
