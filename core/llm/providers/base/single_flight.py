"""Work that many ask for and that is done once: a load, a pull.

Each piece of work has a task of its own. A caller who is cancelled leaves; the work goes on for the others, and is
cancelled when the last one has left, unless somebody asked for it to be kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from core.llm.common.clock import Clock
from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.provider import Progress, ProgressCallback

_T = TypeVar("_T")

Tell = Callable[[Progress], None]


@dataclass(slots=True)
class _Shared:
    task: "asyncio.Task[Any]"
    waiters: int = 0
    kept: bool = False
    listeners: list[ProgressCallback] = field(default_factory=list)
    last: Progress | None = None


class SingleFlight(Generic[_T]):
    """Shared tasks by key, on one event loop."""

    def __init__(self) -> None:
        self._running: dict[Hashable, _Shared] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._running

    async def join(
        self,
        key: Hashable,
        start: Callable[[Tell], Coroutine[Any, Any, _T]],
        listener: ProgressCallback | None = None,
        *,
        keep: bool = False,
    ) -> _T:
        """The result of the work for *key*, started by *start* unless it is running already.

        Args:
            key: what the work is about.
            start: makes the coroutine; it is handed a function that tells every listener of progress.
            listener: told of progress while this caller waits, beginning with the latest.
            keep: let the work go on when nobody waits for it any more.

        Raises:
            ProviderError: what the work raised, a fresh copy for each caller; `cancelled` where the work was stopped.
        """
        shared = self._running.get(key) or self._begin(key, start)
        shared.kept = shared.kept or keep
        shared.waiters += 1
        if listener is not None:
            shared.listeners.append(listener)
            if shared.last is not None:
                listener(shared.last)
        try:
            result: _T = await asyncio.shield(shared.task)
        except ProviderError as error:
            # One error raised by many waiters would collect all their tracebacks.
            raise copy(error) from None
        except asyncio.CancelledError:
            if shared.task.cancelled() and not cancelled_ourselves():
                raise ProviderError(
                    "cancelled", "the work was stopped: its provider is closing", code="stopped"
                ) from None
            raise
        finally:
            shared.waiters -= 1
            if listener is not None:
                shared.listeners.remove(listener)
            if shared.waiters == 0 and not shared.kept and not shared.task.done():
                shared.task.cancel()
                # Whoever comes next must not join work that is already being stopped.
                self._forget(key, shared)
        return result

    async def stop(self) -> None:
        """Cancel all work and return once it has ended."""
        tasks = [shared.task for shared in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, key: Hashable, start: Callable[[Tell], Coroutine[Any, Any, _T]]) -> _Shared:
        def tell(progress: Progress) -> None:
            shared.last = progress
            for listener in tuple(shared.listeners):
                listener(progress)

        shared = self._running[key] = _Shared(asyncio.get_running_loop().create_task(start(tell), name=f"shared {key}"))
        shared.task.add_done_callback(lambda task: self._ended(key, shared, task))
        return shared

    def _ended(self, key: Hashable, shared: _Shared, task: "asyncio.Task[Any]") -> None:
        self._forget(key, shared)
        if not task.cancelled():
            # Marks the error as seen: kept work may fail when nobody waits, and the work itself has reported it.
            task.exception()

    def _forget(self, key: Hashable, shared: _Shared) -> None:
        if self._running.get(key) is shared:
            del self._running[key]


async def within(work: Awaitable[_T], seconds: float, clock: Clock, late: Callable[[], ProviderError]) -> _T:
    """*work*, cancelled after *seconds* of *clock*; then raises what *late* makes."""
    task = asyncio.ensure_future(work)

    def ring() -> None:
        task.cancel()

    timer = clock.call_at(clock.monotonic() + seconds, ring)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled() and not cancelled_ourselves():
            raise late() from None
        task.cancel()
        await asyncio.wait([task])
        raise
    finally:
        timer.cancel()


def cancelled_ourselves() -> bool:
    """Whether the running task itself was asked to stop, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
