"""Reloads take turns: one after the other, and all that are asked for while one runs share the one that follows."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from core.llm.common.exceptions import ServiceStopping
from core.llm.providers.config.changes import ReloadResult

Work = Callable[[], Awaitable[ReloadResult]]


class Turns:
    """Runs each piece of work in a task of its own: a caller that is cancelled leaves nothing half done."""

    def __init__(self) -> None:
        self.alone = asyncio.Lock()
        """Held by whoever has the turn."""
        self._next: asyncio.Task[ReloadResult] | None = None
        """The one that is waiting for its turn; whoever comes before it has begun may share it."""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def shared(self, work: Work) -> ReloadResult:
        """What comes of *work*, which all who ask before it begins have in common.

        Raises:
            ServiceStopping: `stop` was called.
        """
        if self._next is None:
            self._next = self.begin(self._in_turn(work, shared=True))
        return await self._outcome(self._next)

    async def own(self, work: Work) -> ReloadResult:
        """What comes of *work*, which is the caller's alone.

        Raises:
            ServiceStopping: `stop` was called.
        """
        return await self._outcome(self.begin(self._in_turn(work, shared=False)))

    def begin(self, work: Coroutine[Any, Any, ReloadResult]) -> asyncio.Task[ReloadResult]:
        """Run *work* until it ends, or `stop` is called."""
        task = asyncio.create_task(work, name="llm-config-reload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Cancel all that runs or waits, and return at its end."""
        for task in tuple(self._tasks):
            task.cancel()
        # It may end before it has begun to run, and nobody shall wait for it then.
        self._next = None
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _in_turn(self, work: Work, *, shared: bool) -> ReloadResult:
        async with self.alone:
            if shared:
                self._next = None
            return await work()

    @staticmethod
    async def _outcome(task: asyncio.Task[ReloadResult]) -> ReloadResult:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if task.cancelled() and me is not None and not me.cancelling():
                raise ServiceStopping("the configuration is not reloaded: its manager was stopped") from None
            raise
