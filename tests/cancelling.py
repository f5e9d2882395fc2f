"""Cancel a call at each point at which it waits, one after the other: what a cancel sweep is made of."""

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any


class CancelAt:
    """Runs an awaitable and cancels the current task when it waits for the nth time, and once more *again* waits later.

    The real machinery of cancellation runs: an exception thrown into a coroutine would leave its futures behind.
    """

    def __init__(self, inner: Awaitable[Any], nth: int, again: int | None = None) -> None:
        self._inner = inner
        self._points = {nth} if again is None else {nth, nth + again}
        self._count = 0
        self.hit = False

    def __await__(self) -> Generator[Any, Any, Any]:
        running = self._inner.__await__()
        step = lambda: running.send(None)  # noqa: E731 - what happens next, as a value
        while True:
            try:
                waiting = step()
            except StopIteration as done:
                return done.value
            if self._count in self._points:
                self.hit = True
                asyncio.current_task().cancel()
            self._count += 1
            try:
                value = yield waiting
                step = lambda value=value: running.send(value)  # noqa: E731 - see above
            except BaseException as error:
                step = lambda error=error: running.throw(error)  # noqa: E731 - see above


async def outcome_of(sweep: CancelAt) -> Any:
    """What the call came to: its result, or the exception it raised."""

    async def run() -> Any:
        return await sweep

    return (await asyncio.gather(asyncio.ensure_future(run()), return_exceptions=True))[0]
