"""Cancel a coroutine at every point where it waits, and look at what it leaves behind.

```python
async def scenario() -> None:
    await service.generate("hi")

async for point in cancel_sweep(scenario):
    assert calls_in_progress(service) == 0, point
```

The cancellation is a real one: the task is cancelled while it waits, and the event loop delivers it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Final, Literal

_LIMIT: Final = 500
_TURNS: Final = 50

Ending = Literal["returned", "raised", "cancelled"]


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One run of the sweep: where it was cancelled, and how it ended."""

    first: int
    """The suspension at which the task was cancelled, counted from zero."""
    second: int | None
    """How many suspensions later it was cancelled again, in the middle of its clean-up; `None`: it was not."""
    hit: bool
    """False for the last run, which ended before it could be cancelled."""
    ending: Ending
    error: BaseException | None = None
    """What it raised, cancellations not counted."""

    def __str__(self) -> str:
        again = "" if self.second is None else f" and {self.second} later"
        how = f"{self.ending} {self.error!r}" if self.error is not None else self.ending
        return f"cancelled at suspension {self.first}{again}: {how}" if self.hit else f"not cancelled: {how}"


async def cancel_sweep(
    scenario: Callable[[], Coroutine[Any, Any, Any]],
    *,
    prepare: Callable[[], Awaitable[Any]] | None = None,
    twice: bool = True,
    within: float = 30.0,
    most: int | None = None,
    seed: int = 0,
) -> AsyncIterator[SweepPoint]:
    """Run *scenario* cancelled at its first suspension, then at its second, and so on, until it gets through.

    After each run the event loop has come to rest and the caller checks what must hold.

    Args:
        scenario: makes the coroutine; called for every run.
        prepare: awaited before every run and never cancelled.
        twice: try each point also with a second cancellation one, two … suspensions after the first.
        within: seconds that a run may take.
        most: try so many second cancellations for each first one, half of them the next ones and the others drawn from
            the rest; `None` tries all.
        seed: draws them.

    Raises:
        AssertionError: a run did not end in time, or there is no end of suspensions.
    """
    for first in range(_LIMIT):
        point, suspensions = await _run(scenario, prepare, first, None, within)
        yield point
        if not point.hit:
            return
        later = range(1, suspensions - first if twice else 1)
        for second in later if most is None else _some(later, most, random.Random(f"{seed} {first}")):
            yield (await _run(scenario, prepare, first, second, within))[0]
    raise AssertionError(f"the scenario still waits after {_LIMIT} suspensions")


def _some(points: range, most: int, rng: random.Random) -> list[int]:
    """The first half of *most* and a sample of what follows."""
    near = points[: (most + 1) // 2]
    return [*near, *sorted(rng.sample(points[len(near) :], min(most // 2, len(points) - len(near))))]


async def _run(
    scenario: Callable[[], Coroutine[Any, Any, Any]],
    prepare: Callable[[], Awaitable[Any]] | None,
    first: int,
    second: int | None,
    within: float,
) -> tuple[SweepPoint, int]:
    if prepare is not None:
        await prepare()
    points = {first} if second is None else {first, first + second}
    counted = _Counted(scenario(), frozenset(points))
    task = asyncio.create_task(counted.run(), name="cancel-sweep")
    _, late = await asyncio.wait({task}, timeout=within)
    hit = counted.suspensions > first  # the second one may come too late, where a run took fewer turns than the last
    if late:
        task.cancel()
        raise AssertionError(f"{SweepPoint(first, second, hit, 'returned')}, but not within {within:g} s")
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    if task.cancelled():
        return SweepPoint(first, second, hit, "cancelled"), counted.suspensions
    error = task.exception()
    return SweepPoint(first, second, hit, "raised" if error else "returned", error), counted.suspensions


class _Counted:
    """Drives a coroutine and cancels the task it runs in at some of its suspensions."""

    def __init__(self, work: Coroutine[Any, Any, Any], points: frozenset[int]) -> None:
        self._work = work
        self._points = points
        self.suspensions = 0

    async def run(self) -> Any:
        """The result of the coroutine."""
        return await self

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        answer: Any = None
        error: BaseException | None = None
        while True:
            try:
                waits_for = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value
            task = asyncio.current_task()
            if self.suspensions in self._points and task is not None:
                # The task is running, so the event loop cancels what it is about to wait for.
                task.cancel()
            self.suspensions += 1
            answer = error = None
            try:
                answer = yield waits_for
            except BaseException as thrown:  # noqa: BLE001 - whatever the event loop throws is meant for the coroutine
                error = thrown
