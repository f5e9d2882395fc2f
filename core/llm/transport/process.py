"""A local worker process and its supervisor: started when needed, restarted after a crash, never left behind.

A native crash, a memory kill or a hang stays in the worker; unloading a model is the end of its process, which gives
all memory back. Host and worker talk over a socket pair, so there is no port and no file anyone else could open.

    stopped ─start→ starting ─ok→ ready ─stop→ stopping → stopped
                       │            │crash
                       └──fails──→ waiting (back-off) ─next call→ starting
                                    └─ more than 5 crashes within 60 s → failed ─start(force=True)→ starting
"""

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Final, Literal

from core.llm.common.clock import Clock, SystemClock
from core.llm.common.exceptions import ModelLoadError, ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.transport.process_calls import NO_LIMITS, WorkerCall, WorkerStream
from core.llm.transport.process_child import WorkerChild
from core.llm.transport.process_exit import WorkerExit, not_started
from core.llm.transport.process_restart import RestartLog
from core.llm.transport.process_slots import Slots
from core.llm.transport.process_spec import Setup, WorkerSpec

__all__ = ["Setup", "WorkerExit", "WorkerObserver", "WorkerProcess", "WorkerSpec", "WorkerState", "WorkerStream"]

_DEADLINE_MARGIN: Final = 0.1

WorkerState = Literal["stopped", "starting", "ready", "waiting", "failed", "stopping", "closed"]


class WorkerObserver:
    """Is told what becomes of a worker. Does nothing by itself; derive from it."""

    def starting(self) -> None:
        """A start has begun."""

    def progress(self, item: Any) -> None:
        """The set-up call has sent *item*: how far it is."""

    def ready(self, seconds: float) -> None:
        """The worker is ready, *seconds* after its start began."""

    def failed(self, error: Exception) -> None:
        """The start has failed."""

    def called_off(self) -> None:
        """Nobody waited for the start any more."""

    def ended(self, how: WorkerExit) -> None:
        """The process is gone."""


class WorkerProcess:
    """Keeps one worker. Whoever made it must `close` it; belongs to one event loop."""

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        observer: WorkerObserver | None = None,
        prepare: Callable[[], Awaitable[Setup]] | None = None,
    ) -> None:
        """*prepare* is run before each start, and its set-up call takes the place of the one in *spec*."""
        self.spec = spec
        self._clock = clock or SystemClock()
        self._observer = WorkerObserver() if observer is None else observer
        self._prepare = prepare
        self._log = RestartLog(spec.restart, rng or random.Random())
        self._slots = Slots(spec.slots, spec.max_waiting)
        self._child: WorkerChild | None = None
        self._start: asyncio.Task[WorkerChild] | None = None
        self._waiters = 0
        self._stop: asyncio.Task[None] | None = None
        self._closed = False
        self.setup_result: Any = None
        """What the set-up call of the running process returned."""

    @property
    def state(self) -> WorkerState:
        """Where the worker is in its life."""
        if self._stop is not None:
            return "stopping"
        if self._closed:
            return "closed"
        if self._start is not None:
            return "starting"
        if self._child is not None and self._child.usable:
            return "ready"
        if self._log.gave_up:
            return "failed"
        return "waiting" if self._log.wait(self._clock.monotonic()) else "stopped"

    @property
    def pid(self) -> int | None:
        """The process id while it is ready."""
        return self._child.pid if self._child is not None and self._child.usable else None

    @property
    def calls(self) -> int:
        """Calls in the worker, cancelled ones included until it has let go of them."""
        return self._child.calls if self._child is not None else 0

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return self._slots.waiting

    async def start(self, *, force: bool = False, deadline: float = math.inf) -> None:
        """Return once the worker is ready; joins a start that is under way. *force* overrules back-off and `failed`.

        When the *deadline* passes, the start goes on for later callers.

        Raises:
            WorkerCrashed: it crashed while starting.
            ModelLoadError: its set-up call was refused or took too long; holds what the worker printed.
            ProviderError: it is restarting or given up, it is closed, or the deadline has passed.
        """
        if force:
            self._log.forget()
        await self._ready(deadline)

    async def request(
        self, method: str, params: Mapping[str, Any], limits: PhaseLimits = NO_LIMITS, *, slot: bool = True
    ) -> Any:
        """Call *method* and return its result; cancelling the task cancels the call. Starts the worker when needed.

        Without *slot* the call does not queue behind the others: for what takes no computing time.

        Raises:
            WorkerCrashed: the process ended before the result.
            ProviderError: the engine refused, a limit passed, or the queue is full.
        """
        call = await self._call(method, params, limits, slot)
        try:
            return await call.result()
        finally:
            call.abandon()

    async def stream(self, method: str, params: Mapping[str, Any], limits: PhaseLimits = NO_LIMITS) -> WorkerStream:
        """Call *method* and return its items as an iterator; whoever holds it must `close` it."""
        return WorkerStream(await self._call(method, params, limits, slot=True))

    async def stop(self, grace: float = 0.0) -> None:
        """End the process and return once it is gone. A later call starts it again.

        Calls in flight may finish within *grace* seconds; the rest fail. Calls that come meanwhile wait for the end
        and then for a new start.
        """
        if self._stop is None:
            self._stop = asyncio.create_task(self._end(grace), name=f"unload {self.spec.name}")
        await asyncio.shield(self._stop)

    async def close(self, grace: float = 0.0) -> None:
        """As `stop`, and no call is accepted any more. Idempotent."""
        self._closed = True
        await self.stop(grace)

    async def _end(self, grace: float) -> None:
        try:
            if self._start is not None:
                if not self._start.cancelling():  # a second one would cut the clean-up of the first
                    self._start.cancel()
                await asyncio.wait((self._start,))
            if self._child is not None:
                await self._child.end(grace)
                self._child = None
        finally:
            self._stop = None

    async def _call(self, method: str, params: Mapping[str, Any], limits: PhaseLimits, slot: bool) -> WorkerCall:
        if not slot:
            child = await self._ready(limits.deadline_at)
            return await child.call(method, params, limits, _nothing)
        await self._take_slot(limits)
        try:
            child = await self._ready(limits.deadline_at)
        except BaseException:
            self._slots.give()
            raise
        return await child.call(method, params, limits, self._slots.give)

    async def _take_slot(self, limits: PhaseLimits) -> None:
        left = limits.deadline_at - self._clock.monotonic()
        if left == math.inf or self._slots.free:
            await self._slots.take()
            return
        try:
            async with asyncio.timeout(max(left, 0)):
                await self._slots.take()
        except TimeoutError:
            message = "the deadline passed while the call waited for a free slot of the local model"
            raise ProviderError("timeout", message, code="deadline_exceeded") from None

    async def _ready(self, deadline: float = math.inf) -> WorkerChild:
        while True:
            if self._closed:
                raise ProviderError("server_error", f"the local model {self.spec.name} is closed", code="worker_closed")
            if self._child is not None and self._child.usable:
                return self._child
            if self._stop is not None:
                await asyncio.wait((self._stop,))
                continue
            child = await self._join_start(deadline)
            if child is not None:
                return child

    async def _join_start(self, deadline: float) -> WorkerChild | None:
        """One start for all who wait; `None` where it was called off by the last of its other waiters.

        When the last one is cancelled, so is the start. When its deadline passes, the start goes on for later callers:
        otherwise a model that loads for longer than one call may take would never be ready.
        """
        if self._start is None:
            self._start = asyncio.create_task(self._start_child(), name=f"start {self.spec.name}")
            self._start.add_done_callback(self._started)
        task = self._start
        self._waiters += 1
        try:
            left = None if deadline == math.inf else max(deadline - self._clock.monotonic(), 0)
            if not (await asyncio.wait((task,), timeout=left))[0]:
                message = f"the deadline passed while the local model {self.spec.name} was starting; the start goes on"
                raise ProviderError("timeout", message, code="deadline_exceeded")
            if task.cancelled():
                return None
            if (error := task.exception()) is not None:
                raise copy(error)  # each waiter gets one of its own: what handles errors writes on them
            return task.result()
        finally:
            self._waiters -= 1
            # A caller may enforce the same deadline itself, by a cancellation that comes a moment before our own.
            given_up = self._clock.monotonic() < deadline - _DEADLINE_MARGIN
            if given_up and not self._waiters and not task.done() and not task.cancelling():
                task.cancel()

    def _started(self, task: asyncio.Task[WorkerChild]) -> None:
        self._start = None
        if not task.cancelled():
            task.exception()  # every waiter may have left by now

    async def _start_child(self) -> WorkerChild:
        await self._wait_for_turn()
        self._observer.starting()
        began = self._clock.monotonic()
        try:
            child = await self._new_child()
        except asyncio.CancelledError:
            self._observer.called_off()
            raise
        except Exception as error:
            self._observer.failed(error)
            raise
        now = self._clock.monotonic()
        self._log.ready(now)
        self._child = child
        self._observer.ready(now - began)
        return child

    async def _new_child(self) -> WorkerChild:
        setup = await self._prepare() if self._prepare is not None else self.spec.setup
        if self._child is not None:
            await self._child.ended.wait()
            self._child = None
        try:
            child = await self._spawn()
        except OSError as error:
            self._log.refused(self._clock.monotonic())
            raise not_started(self.spec.name, error) from None
        try:
            await child.greeted()
            if setup is not None:
                self.setup_result = await self._set_up(child, setup)
            child.watch_heartbeats()
        except BaseException as error:
            await child.end(0)
            if isinstance(error, ModelLoadError):
                error.output = child.output
                self._log.refused(self._clock.monotonic())
            raise
        return child

    async def _spawn(self) -> WorkerChild:
        return await WorkerChild.spawn(self.spec, self._clock, self._child_ended)

    async def _wait_for_turn(self) -> None:
        if self._log.gave_up:
            crashes, window = self.spec.restart.max_crashes, self.spec.restart.window
            message = (
                f"the local model {self.spec.name} crashed more than {crashes} times within {window:g} s and is not "
                "started again; load it explicitly or change its configuration"
            )
            raise ProviderError("server_error", message, code="worker_failed", retryable=False)
        wait = self._log.wait(self._clock.monotonic())
        if wait > self.spec.patience:
            message = f"the local model {self.spec.name} failed and is started again in {wait:.1f} s at the earliest"
            raise ProviderError("server_error", message, code="worker_restarting", retry_after=wait)
        if wait:
            await self._clock.sleep(wait)

    async def _set_up(self, child: WorkerChild, setup: Setup) -> Any:
        limits = replace(NO_LIMITS, deadline_at=self._clock.monotonic() + setup.timeout)
        call = await child.call(setup.method, setup.params, limits, _nothing)
        try:
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    self._observer.progress(await call.next_item())
            return await call.result()
        except ProviderError as error:
            name = self.spec.name
            if error.code == "deadline_exceeded":
                message = f"the local model {name} was not ready within {setup.timeout:g} s; the load was stopped"
            else:
                message = f"the local model {name} cannot be loaded: {error.message}"
            raise ModelLoadError(message, model=name) from None
        finally:
            call.abandon()

    def _child_ended(self, how: WorkerExit) -> None:
        if not how.expected:
            self._log.crashed(self._clock.monotonic())
        self._observer.ended(how)


def _nothing() -> None:
    """A call that held no slot has ended."""
