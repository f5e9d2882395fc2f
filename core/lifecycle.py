"""Start components in the order of their dependencies, stop them in reverse, and leave nothing behind.

new ──> starting ──> started ──> stopping ──> stopped
           └──> failed (after everything that had started was stopped again)
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from injector import Binder, Module

from core import journal
from core.background import OnFailure, Sleep, TaskFailed, TaskHandle
from core.exceptions import (
    BackgroundTaskFailed,
    ContainerError,
    ContainerStopped,
    HookCancelled,
    HookTimeout,
    LateHook,
    WrongState,
    describe_key,
)
from core.hooks import (
    STOP_TIMEOUT,
    AsyncFunction,
    Hook,
    HookFinished,
    HookRunner,
    Startable,
    Stoppable,
    component_hook,
    current_runner,
    end_tasks,
)
from core.injection import LazySingletonScope, Ref, lazy_singleton, watch_singletons

__all__ = [
    "BackgroundTaskFailed",
    "ContainerError",
    "ContainerState",
    "ContainerStopped",
    "Hook",
    "HookCancelled",
    "HookFinished",
    "HookTimeout",
    "LateHook",
    "LazySingletonScope",
    "Lifecycle",
    "LifecycleEvent",
    "LifecycleModule",
    "Ref",
    "Startable",
    "Stoppable",
    "TaskFailed",
    "TaskHandle",
    "WrongState",
    "lazy_singleton",
]

LifecycleEvent = HookFinished | TaskFailed

STOP_FLOOR = 0.5
"""Seconds every hook gets for its stop, even when the total is used up: nothing is skipped."""


class ContainerState(StrEnum):
    """Where the container is in its life. ``stopped`` and ``failed`` are final."""

    NEW = "new"
    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Lifecycle:
    """The hooks of one container, in the order in which they start. Injectable.

    Args:
        start_timeout: Seconds for the whole start; each hook has its own limit besides.
        stop_timeout: Seconds for the whole stop, and for the rollback of a failed start.
        prepare: Called first by ``start()``; creates the components whose hooks will run.
        cancel_grace: Seconds a cancelled hook gets before it is abandoned.
        sleep: Waits between two runs of a failing background task.
    """

    def __init__(
        self,
        *,
        start_timeout: float = 60,
        stop_timeout: float = 25,
        prepare: Callable[[], None] | None = None,
        cancel_grace: float = 0.2,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._prepare = prepare
        self._cancel_grace = cancel_grace
        self._sleep = sleep
        self._state = ContainerState.NEW
        self._accepting = True
        self._interruptible = True
        self._hooks: list[Hook] = []
        self._adopted: dict[int, Any] = {}
        self._runners: list[HookRunner] = []
        self._tasks: set[TaskHandle] = set()
        self._failures: list[BaseException] = []
        self._listeners: list[Callable[[LifecycleEvent], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start_task: asyncio.Task[None] | None = None
        self._stop_task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    @property
    def state(self) -> ContainerState:
        """Where the container is in its life."""
        return self._state

    @property
    def stop_requested(self) -> bool:
        """Whether the stop has begun, be it by a call, a signal or a failed background task."""
        return self._stop_task is not None

    def append(self, hook: Hook) -> None:
        """Add a hook behind those already there. Call it in a constructor: the order of creation is the start order.

        Raises:
            LateHook: the first hook has already been started.
        """
        if not self._accepting:
            raise LateHook(hook.name)
        self._hooks.append(hook)

    def adopt(self, key: Any, component: Any) -> None:
        """Add the hook of a component that has ``async start()`` or ``async stop()``; once for each object."""
        if id(component) in self._adopted or component is self:
            return
        hook = component_hook(describe_key(key), component)
        if hook is not None:
            self.append(hook)
            # The reference keeps the id from being given to another object.
            self._adopted[id(component)] = component

    def spawn(self, function: AsyncFunction, *, name: str, on_failure: OnFailure = "restart") -> TaskHandle:
        """Run *function* in the background until it returns or its owner is stopped.

        The owner is the component in whose ``start()`` this is called; the task is cancelled after the owner's
        ``stop()``. Called in a constructor, it begins and ends in the place of a hook. Called later, from anywhere, it
        ends before the first component is stopped. When it raises, it is logged, and by *on_failure* started again
        after 0.5 s, 1 s, 2 s ... 30 s, or the container is stopped.
        """
        owner = current_runner.get()
        tasks = owner.tasks if owner in self._runners and owner is not None else self._tasks
        handle = TaskHandle(
            function,
            name=name,
            on_failure=on_failure,
            failed=self._task_failed,
            sleep=self._sleep,
            ended=tasks.discard,
        )
        if self._accepting:

            async def begin() -> None:
                handle.begin()

            self.append(Hook(f"task {name}", begin, handle.stop))
        elif self._state in (ContainerState.STARTING, ContainerState.STARTED):
            tasks.add(handle)
            handle.begin()
        else:
            raise ContainerStopped(f"background task {name!r} cannot start: the container is {self._state}.")
        return handle

    def on_event(self, listener: Callable[[LifecycleEvent], None]) -> Callable[[], None]:
        """Call *listener* with every event. Return a function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def start(self) -> None:
        """Start every hook in order, or none: when one fails, those before it are stopped again.

        Raises:
            HookTimeout: a hook was too slow.
            WrongState: it was started before.
            ContainerStopped: it was stopped before, or meanwhile.
            BaseException: what a component's ``start()`` raised, unchanged; errors of the rollback are in its notes.
        """
        if self._state is not ContainerState.NEW:
            final = self._state in (ContainerState.STOPPED, ContainerState.FAILED)
            error = ContainerStopped if final else WrongState
            raise error(f"the container is {self._state}; start() works once. Build a new container.")
        self._state = ContainerState.STARTING
        self._loop = asyncio.get_running_loop()
        task = self._start_task = self._loop.create_task(self._start(), name="lifecycle:start")
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            self._interrupt_start()
            await _wait_through(self._begin_stop() if self._state is ContainerState.STARTED else task)
            raise
        if task.cancelled():
            raise ContainerStopped("stop() was called while the container was starting.") from _first(self._failures)
        task.result()

    async def stop(self) -> None:
        """Stop every started hook, the last one first. Any number of callers get the same outcome.

        When the caller is cancelled the teardown goes on; another ``stop()`` waits for it.

        Raises:
            ExceptionGroup: every error there was; each has a note that names its hook.
        """
        if self._state is ContainerState.NEW:
            self._accepting = False
            self._end(ContainerState.STOPPED)
        if self._loop is None or (self._stop_task is None and self._state is ContainerState.FAILED):
            return
        if self._loop is not asyncio.get_running_loop():
            raise WrongState(
                "stop() was called on another event loop than start(): start and stop within one asyncio.run, or from "
                "elsewhere by asyncio.run_coroutine_threadsafe(container.stop(), loop)."
            )
        await asyncio.shield(self._begin_stop())

    def request_stop(self) -> None:
        """Begin the stop and return; ``wait_stopped()`` and ``stop()`` wait for its end.

        From another thread: ``loop.call_soon_threadsafe(lifecycle.request_stop)``.
        """
        if self._loop is None:
            raise WrongState("request_stop() was called before start().")
        if self._state is not ContainerState.FAILED:
            self._begin_stop()

    async def wait_stopped(self) -> None:
        """Return when the container has stopped or failed."""
        await self._ended.wait()

    async def _start(self) -> None:
        deadline = self._now() + self._start_timeout
        try:
            if self._prepare is not None:
                self._prepare()
            self._accepting = False
            for hook in self._hooks:
                runner = HookRunner(hook, self._publish, cancel_grace=self._cancel_grace)
                self._runners.append(runner)
                await runner.start(deadline - self._now())
        except BaseException as error:
            self._accepting = self._interruptible = False
            if isinstance(error, HookTimeout):
                durations = ((runner.hook.name, runner.start_duration) for runner in self._runners)
                journal.write("ERROR", f"{error}\nHooks by start time:\n{journal.slowest_first(durations)}")
            for failure in await self._stop_hooks():
                error.add_note(f"rolling back: {failure!r} {' '.join(getattr(failure, '__notes__', ()))}".rstrip())
                self._failures.append(failure)
            self._end(ContainerState.FAILED)
            raise
        self._state = ContainerState.STARTED

    def _interrupt_start(self) -> None:
        """Cancel the start, once: a second cancellation, or one after a failure, would hit the rollback."""
        if self._start_task is not None and self._interruptible:
            self._interruptible = False
            self._start_task.cancel()

    def _begin_stop(self) -> asyncio.Task[None]:
        if self._stop_task is None:
            self._stop_task = asyncio.get_running_loop().create_task(self._stop(), name="lifecycle:stop")
            # Whoever awaits stop() gets the error, and it is in the log; asyncio need not report it a third time.
            self._stop_task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._stop_task

    async def _stop(self) -> None:
        if self._start_task is not None and not self._start_task.done():
            self._interrupt_start()
            await asyncio.wait({self._start_task})
        if self._state is ContainerState.STARTED:
            self._state = ContainerState.STOPPING
            self._failures += await self._stop_hooks()
            self._end(ContainerState.STOPPED)
        if self._failures:
            raise BaseExceptionGroup("the container did not stop cleanly", self._failures)

    async def _stop_hooks(self) -> list[BaseException]:
        deadline = self._now() + self._stop_timeout
        ended = await end_tasks(self._tasks, min(self._stop_timeout, STOP_TIMEOUT))
        failures = [error for error in ended if error is not None]
        for runner in reversed(self._runners):
            try:
                await runner.stop(max(deadline - self._now(), STOP_FLOOR))
            except BaseException as error:  # noqa: BLE001 - collected; the other hooks must be stopped too
                error.add_note(f"(stopping {runner.hook.name})")
                failures.append(error)
        return failures

    def _end(self, state: ContainerState) -> None:
        self._state = state
        self._ended.set()

    def _task_failed(self, handle: TaskHandle, event: TaskFailed) -> None:
        self._publish(event)
        if handle.on_failure == "stop_container" and not handle.stopping:
            failure = BackgroundTaskFailed(event.task)
            failure.__cause__ = event.error
            failure.add_note(f"(background task {event.task})")
            self._failures.append(failure)
            self.request_stop()

    def _publish(self, event: LifecycleEvent) -> None:
        _log(event)
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - an observer must not decide whether the container starts
                journal.write("ERROR", f"a lifecycle listener failed on {event!r}", error)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class LifecycleModule(Module):
    """For hosts that own their Injector: binds :class:`Lifecycle` and adopts every singleton that is created.

    ``await injector.get(Lifecycle).start()`` then starts what has been created until then, and no more.
    """

    def __init__(self, lifecycle: Lifecycle | None = None) -> None:
        self._lifecycle = lifecycle

    def configure(self, binder: Binder) -> None:
        """Bind the lifecycle and watch the singleton scopes; a second module in the same injector changes nothing."""
        if binder.has_explicit_binding_for(Lifecycle):
            return
        lifecycle = self._lifecycle or Lifecycle()
        binder.bind(Lifecycle, to=lifecycle)
        watch_singletons(binder, lifecycle.adopt)


def _log(event: LifecycleEvent) -> None:
    if isinstance(event, TaskFailed):
        then = "not restarted" if event.restart_in is None else f"restarted in {event.restart_in:g} s"
        journal.write("ERROR", f"background task {event.task!r} failed ({event.failures}); {then}", event.error)
    elif isinstance(event.error, asyncio.CancelledError):
        journal.write("INFO", f"{event.hook}: {event.phase}() was cancelled after {event.duration:.3f} s")
    elif event.error is not None:
        why = f"{type(event.error).__name__}: {event.error}"
        text = f"{event.hook}: {event.phase}() failed after {event.duration:.3f} s: {why}"
        # start() raises to its caller, who reports it; the caller of stop() may be gone.
        journal.write("ERROR", text, event.error if event.phase == "stop" else None)
    else:
        journal.write("DEBUG", f"{event.hook}: {event.phase}() took {event.duration:.3f} s")


async def _wait_through(task: asyncio.Task[Any]) -> None:
    """Wait for the end of *task*, however often the caller is cancelled: it has to leave nothing behind."""
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            continue
    if not task.cancelled():
        task.exception()


def _first(errors: list[BaseException]) -> BaseException | None:
    return errors[0] if errors else None
