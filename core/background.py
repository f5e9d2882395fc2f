"""Background tasks that belong to the container: restarted when they fail, or the end of it, but never silent."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from core import journal
from core.exceptions import HookTimeout

OnFailure = Literal["restart", "stop_container"]
Sleep = Callable[[float], Awaitable[Any]]

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A background task has failed.

    ``failures`` counts them in a row; ``restart_in`` is seconds, or None when it is not started again.
    """

    task: str
    error: BaseException
    failures: int
    restart_in: float | None


def backoff(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: 0.5, 1, 2 ... 30."""
    return min(FIRST_DELAY * 2.0 ** min(failures - 1, 16), LONGEST_DELAY)


class TaskHandle:
    """A task owned by the container. It ends with the component that spawned it, or earlier by :meth:`stop`."""

    def __init__(
        self,
        function: Callable[[], Awaitable[None]],
        *,
        name: str,
        on_failure: OnFailure,
        failed: Callable[["TaskHandle", TaskFailed], None],
        sleep: Sleep,
        ended: Callable[["TaskHandle"], None],
    ) -> None:
        self.name = name
        self.on_failure = on_failure
        self.stopping = False
        """Whether :meth:`stop` was called; a failure is then reported, and has no other consequence."""
        self.failures = 0
        """Failures in a row; a run of more than 30 s resets it."""
        self._function = function
        self._failed = failed
        self._sleep = sleep
        self._ended = ended
        self._task: asyncio.Task[None] | None = None

    @property
    def done(self) -> bool:
        """Whether it has returned, failed for good, or been stopped."""
        return self._task is not None and self._task.done()

    def begin(self) -> None:
        """Start it on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._supervise(), name=f"lifecycle:task:{self.name}")
        self._task.add_done_callback(lambda _: self._ended(self))

    async def wait(self) -> None:
        """Return when it has ended. Its failures are reported as events and do not raise here."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self, timeout: float = 10.0) -> None:
        """Cancel it and wait for its end.

        Raises:
            HookTimeout: it ignored its cancellation for *timeout* seconds and was abandoned.
        """
        self.stopping = True
        if self._task is None or self._task.done() or self._task is asyncio.current_task():
            return
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=timeout)
        if not self._task.done():
            place = "".join(journal.await_chain(self._task)[-1:])
            raise HookTimeout(f"background task {self.name}", "stop", timeout, place=place, abandoned=True)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._function()
                return
            except asyncio.CancelledError as error:
                # Ours if somebody cancelled this task; else something it awaits was cancelled, which is a failure.
                if self._is_cancelled():
                    raise
                failure: BaseException = error
            except Exception as error:  # noqa: BLE001 - reported as an event and in the log, then restarted
                failure = error
            self.failures = 1 if loop.time() - began > LONGEST_DELAY else self.failures + 1
            delay = backoff(self.failures) if self.on_failure == "restart" and not self.stopping else None
            self._failed(self, TaskFailed(self.name, failure, self.failures, delay))
            if delay is None:
                return
            await self._sleep(delay)

    def _is_cancelled(self) -> bool:
        return self._task is not None and self._task.cancelling() > 0
