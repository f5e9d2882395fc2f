"""The long suites: storms in real time, crowds, crashes, and a soak. One line for each in the end.

`python -m tests.chaos.suites` runs them all; name some to run those; `soak --seconds 3600` runs an hour of it.
"""

import argparse
import asyncio
import gc
import logging
import random
import sys
from collections.abc import Awaitable, Callable

from loguru import logger

from tests.chaos.suites import crash, scale, soak, storm
from tests.chaos.suites.measure import Result, table

Suite = Callable[[int], Awaitable[Result]]


def suites(seconds: float) -> dict[str, list[Suite]]:
    """Every suite by its name."""
    return {
        "storm": [
            lambda seed: storm.outage(storm.Storm(), seed),
            lambda seed: storm.errors(storm.Storm(), seed),
            lambda seed: storm.black_hole(storm.Storm(), seed),
        ],
        "scale": [
            lambda seed: scale.calls(scale.Scale(), seed),
            lambda seed: scale.streams(scale.Scale(), seed),
        ],
        "crash": [lambda seed: crash.crash(crash.Crash(), seed)],
        "soak": [lambda seed: soak.soak(soak.Soak(seconds), seed)],
    }


def main() -> int:
    """Run what was asked for; 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", help="storm, scale, crash, soak; all where none is named")
    parser.add_argument("--seed", type=int, default=None, help="to see a run again")
    parser.add_argument("--seconds", type=float, default=120.0, help="of the soak")
    given = parser.parse_args()
    every = suites(given.seconds)
    if unknown := set(given.suites) - every.keys():
        parser.error(f"there is no suite {min(unknown)!r}: {', '.join(every)}")
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    logger.remove()
    logging.disable(logging.CRITICAL)
    # What a host with thousands of calls does as well: see docs/fault-injection.md.
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    results = []
    for name in given.suites or every:
        for suite in every[name]:
            print(f"{name} (seed {seed}) …", file=sys.stderr, flush=True)
            results.append(asyncio.run(suite(seed)))
            print(f"  {results[-1].suite}: {results[-1].verdict}", file=sys.stderr, flush=True)
    print(table(results))
    return int(any(result.verdict == "FAIL" for result in results))


if __name__ == "__main__":
    raise SystemExit(main())
