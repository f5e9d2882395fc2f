"""One hook: what it is, and how it is run.

A hook's start and stop run in ONE task. A task group or timeout that a component enters in ``start()`` and leaves in
``stop()`` is bound to the task that entered it; two tasks would end in "exit cancel scope in a different task".
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from core import journal
from core.background import TaskHandle
from core.exceptions import HookCancelled, HookTimeout, Phase

AsyncFunction = Callable[[], Awaitable[None]]
Seconds = float | Callable[[], float]

START_TIMEOUT = 15.0
STOP_TIMEOUT = 10.0


class Startable(Protocol):
    """A component that is started with the container. It may set ``start_timeout``, in seconds."""

    async def start(self) -> None:
        """Do the I/O that the constructor must not do. Clean up before raising: ``stop()`` is then not called."""


class Stoppable(Protocol):
    """A component that is stopped with the container. It may set ``stop_timeout``, in seconds."""

    async def stop(self) -> None:
        """Release everything. Called once, in the task that ran ``start()``, and only if that succeeded."""


@dataclass(frozen=True, slots=True)
class Hook:
    """What to do at the start and at the stop, and how long each may take.

    A timeout is seconds, or a function that returns them and is asked when the phase begins.
    """

    name: str
    on_start: AsyncFunction | None = None
    on_stop: AsyncFunction | None = None
    start_timeout: Seconds = START_TIMEOUT
    stop_timeout: Seconds = STOP_TIMEOUT


@dataclass(frozen=True, slots=True)
class HookFinished:
    """A hook's start or stop has ended, well if ``error`` is None; ``duration`` is in seconds."""

    hook: str
    phase: Phase
    duration: float
    error: BaseException | None


def component_hook(name: str, component: Any) -> Hook | None:
    """Return the hook of a component with ``async start()`` or ``async stop()``; None if it has neither."""
    start, stop = _async_method(component, "start"), _async_method(component, "stop")
    if start is None and stop is None:
        return None
    return Hook(
        name,
        start,
        stop,
        # Asked late: a component may learn its drain time from a configuration that it reads in start().
        start_timeout=lambda: _seconds(component, "start_timeout", START_TIMEOUT),
        stop_timeout=lambda: _seconds(component, "stop_timeout", STOP_TIMEOUT),
    )


def _async_method(component: Any, name: str) -> AsyncFunction | None:
    """Find an async method that can be called without arguments; on the class, where proxies cannot pretend."""
    if not inspect.iscoroutinefunction(getattr(type(component), name, None)):
        return None
    method: AsyncFunction = getattr(component, name)
    parameters = inspect.signature(method).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return method if all(p.default is not p.empty or p.kind in variadic for p in parameters) else None


def _seconds(component: Any, attribute: str, default: float) -> float:
    value = getattr(component, attribute, default)
    if not isinstance(value, int | float) or value <= 0:
        raise TypeError(f"{type(component).__name__}.{attribute} must be a positive number of seconds, not {value!r}")
    return value


class HookRunner:
    """Run one hook in its own task."""

    def __init__(self, hook: Hook, publish: Callable[[HookFinished], None], *, cancel_grace: float) -> None:
        self.hook = hook
        self.tasks: set[TaskHandle] = set()
        """Background tasks spawned by this component; they end with it."""
        self.started = False
        self.start_duration = 0.0
        self._publish = publish
        self._cancel_grace = cancel_grace
        self._error: BaseException | None = None
        self._stop_wanted = asyncio.Event()
        self._settled: asyncio.Future[None]
        self._task: asyncio.Task[None]

    async def start(self, budget: float) -> None:
        """Start within the hook's own time and *budget*, both in seconds.

        Raises:
            HookTimeout: it was too slow, and has been cancelled.
            BaseException: whatever ``on_start`` raised, unchanged.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        error: BaseException | None = None
        try:
            limit = min(_ask(self.hook.start_timeout), budget)
            _ask(self.hook.stop_timeout)  # a wrong value is better found now than at the stop
            self._settled = loop.create_future()
            self._task = loop.create_task(self._live(), name=f"lifecycle:{self.hook.name}")
            await asyncio.wait({self._settled}, timeout=limit)
            error = self._error if self._settled.done() else await self._give_up_start(limit)
            if isinstance(error, asyncio.CancelledError):
                error = HookCancelled(self.hook.name, "start")
            if error is not None:
                raise error
        except BaseException as raised:
            error = raised
            if isinstance(raised, asyncio.CancelledError):
                await self._give_up_start(0)
            raise
        finally:
            self.start_duration = loop.time() - began
            self._publish(HookFinished(self.hook.name, "start", self.start_duration, error))

    async def stop(self, budget: float) -> None:
        """Stop within the hook's own time and *budget*, both in seconds; then end its background tasks.

        Raises:
            HookTimeout: it was too slow, and has been cancelled.
            BaseException: whatever ``on_stop`` raised, unchanged.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        limit = min(self._stop_timeout(), budget)
        errors = [await self._stop_hook(limit)] if self.started else []
        # After on_stop, so that a component can let a task finish its work first.
        errors += await end_tasks(self.tasks, max(limit - (loop.time() - began), self._cancel_grace))
        failures = [error for error in errors if error is not None]
        error = failures[0] if failures else None
        if len(failures) > 1:
            error = BaseExceptionGroup(f"stopping {self.hook.name} and its background tasks", failures)
        if self.started:
            self._publish(HookFinished(self.hook.name, "stop", loop.time() - began, error))
        if error is not None:
            raise error

    async def _live(self) -> None:
        current_runner.set(self)
        try:
            if self.hook.on_start is not None:
                await self.hook.on_start()
            self.started = True
        except BaseException as error:  # noqa: BLE001 - kept for start(), which raises it to its caller
            self._error = error
            return
        finally:
            self._settled.set_result(None)
        await self._stop_wanted.wait()
        await self._run_on_stop()

    async def _run_on_stop(self) -> None:
        if self.hook.on_stop is not None:
            await self.hook.on_stop()

    async def _give_up_start(self, limit: float) -> HookTimeout:
        place = "".join(journal.await_chain(self._task)[-1:])
        if not self._settled.done():
            self._task.cancel()
            await asyncio.wait({self._settled}, timeout=self._cancel_grace)
        abandoned = not self._settled.done()
        if abandoned:
            # Should the start succeed after all, it is stopped at once.
            self._stop_wanted.set()
            self._abandon("start")
        return HookTimeout(self.hook.name, "start", limit, place=place, abandoned=abandoned)

    async def _stop_hook(self, limit: float) -> BaseException | None:
        self._stop_wanted.set()
        if self._task.done():  # somebody cancelled every task of the loop; the component must be stopped all the same
            self._task = asyncio.create_task(self._run_on_stop(), name=f"lifecycle:{self.hook.name}")
        await asyncio.wait({self._task}, timeout=limit)
        if self._task.done():
            return HookCancelled(self.hook.name, "stop") if self._task.cancelled() else self._task.exception()
        place = "".join(journal.await_chain(self._task)[-1:])
        self._task.cancel()
        # asyncio.wait and not asyncio.timeout: a hook that swallows its cancellation must not hang us.
        await asyncio.wait({self._task}, timeout=self._cancel_grace)
        timeout = HookTimeout(self.hook.name, "stop", limit, place=place, abandoned=not self._task.done())
        if timeout.abandoned:
            self._abandon("stop")
        elif not self._task.cancelled():
            timeout.__cause__ = self._task.exception()
        return timeout

    def _stop_timeout(self) -> float:
        try:
            return _ask(self.hook.stop_timeout)
        except Exception as error:  # noqa: BLE001 - a component's own property; it must not keep us from stopping it
            journal.write("ERROR", f"{self.hook.name}: no usable stop_timeout; {STOP_TIMEOUT:g} s are taken", error)
            return STOP_TIMEOUT

    def _abandon(self, phase: Phase) -> None:
        self._task.add_done_callback(_retrieve)
        chain = "\n".join(f"  {place}" for place in journal.await_chain(self._task))
        journal.write(
            "ERROR", f"{self.hook.name}: {phase}() ignores its cancellation and is abandoned. It waits in\n{chain}"
        )


current_runner: ContextVar[HookRunner | None] = ContextVar("current_runner", default=None)


async def end_tasks(tasks: Iterable[TaskHandle], timeout: float) -> list[BaseException | None]:
    """Stop background tasks at the same time, each within *timeout* seconds; return what went wrong."""
    return await asyncio.gather(*(task.stop(timeout) for task in list(tasks)), return_exceptions=True)


def _ask(seconds: Seconds) -> float:
    return seconds() if callable(seconds) else seconds


def _retrieve(task: asyncio.Task[None]) -> None:
    """Take the exception of an abandoned task, which asyncio would else report as never retrieved."""
    if not task.cancelled():
        task.exception()
