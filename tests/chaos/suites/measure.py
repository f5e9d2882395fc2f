"""What every suite measures, and the one line that it prints."""

import asyncio
import gc
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

import psutil

TICK = 0.01
"""Seconds between two looks at the event loop."""
MEGABYTE = 2**20


@dataclass
class Result:
    """One suite, as a line of the summary."""

    suite: str
    seed: int
    calls: int = 0
    lost: int = 0
    """Calls that had no end, or an end that they should not have had."""
    wrong: int = 0
    """Invariants that did not hold."""
    load: float | None = None
    """The worst ratio of requests that arrived to calls that were made."""
    recovery: float | None = None
    """Seconds from the end of an outage to normal service."""
    lag: float | None = None
    """99th percentile of the delay of the event loop, in seconds."""
    stood: float = 0.0
    """The longest time for which the event loop did not turn, whoever had the processor."""
    memory: float | None = None
    """Growth of the resident size, as a share of what it was."""
    complaints: list[str] = field(default_factory=list)

    def need(self, condition: bool, complaint: str) -> None:
        """Note *complaint* unless *condition* holds."""
        if not condition:
            self.complaints.append(complaint)

    @property
    def verdict(self) -> Literal["pass", "FAIL"]:
        """Whether everything held."""
        return "FAIL" if self.complaints or self.lost or self.wrong else "pass"


class LoopLag:
    """How late the event loop is, while the block runs, and how much of that is its own doing.

    What other processes of a busy machine take is no delay that the code under test causes: a delay counts as far as
    this thread was computing during it.
    """

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.stood: float = 0.0
        """The longest time for which the loop did not turn at all, whoever had the processor."""

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, spent = loop.time() + TICK, time.thread_time()
            await asyncio.sleep(TICK)
            late = max(0.0, loop.time() - due)
            self.stood = max(self.stood, late)
            self.delays.append(min(late, time.thread_time() - spent))

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def percentile(self, share: float = 0.99) -> float:
        """The delay that so many of all looks did not exceed."""
        ordered = sorted(self.delays) or [0.0]
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    @property
    def worst(self) -> float:
        """The longest delay."""
        return max(self.delays, default=0.0)


def resident() -> int:
    """Bytes of this process in memory, after a collection."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def table(results: list[Result]) -> str:
    """All results below each other."""
    head = f"{'suite':<18}{'seed':>10}{'calls':>9}{'lost':>6}{'wrong':>7}{'load':>7}{'recovery':>10}{'lag p99':>10}{'memory':>9}  verdict"
    lines = [head, "-" * len(head)]
    for one in results:
        figures = (
            "-" if one.load is None else f"{one.load:.2f}",
            "-" if one.recovery is None else f"{one.recovery:.1f} s",
            "-" if one.lag is None else f"{one.lag * 1000:.0f} ms",
            "-" if one.memory is None else f"{one.memory:+.0%}",
        )
        lines.append(
            f"{one.suite:<18}{one.seed:>10}{one.calls:>9}{one.lost:>6}{one.wrong:>7}"
            f"{figures[0]:>7}{figures[1]:>10}{figures[2]:>10}{figures[3]:>9}  {one.verdict}"
        )
        lines += [f"  {one.suite}: {complaint}" for complaint in one.complaints]
    return "\n".join(lines)
