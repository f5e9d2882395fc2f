"""A local worker process and its supervisor: started when needed, restarted after a crash, never left behind.

A native crash, a memory kill or a hang stays in the worker; unloading a model is the end of its process, which gives
all memory back. Host and worker talk over a socket pair, so there is no port and no file anyone else could open.

    stopped ─start→ starting ─ok→ ready ─stop→ stopping → stopped
                       │            │crash
                       └──fails──→ waiting (back-off) ─next call→ starting
                                    └─ more than 5 crashes within 60 s → failed ─start(force=True)→ starting
"""

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

from core.llm.common.clock import Clock, SystemClock
from core.llm.common.exceptions import ProviderError, WorkerCrashed
from core.llm.common.types import PhaseLimits
from core.llm.transport.process_calls import NO_LIMITS, WorkerCall, WorkerStream
from core.llm.transport.process_child import WorkerChild
from core.llm.transport.process_exit import WorkerExit
from core.llm.transport.process_restart import RestartLog
from core.llm.transport.process_slots import Slots
from core.llm.transport.process_spec import Setup, WorkerSpec

__all__ = ["Setup", "WorkerExit", "WorkerProcess", "WorkerSpec", "WorkerState", "WorkerStream"]

WorkerState = Literal["stopped", "starting", "ready", "waiting", "failed", "stopping", "closed"]


class WorkerProcess:
    """Keeps one worker. Whoever made it must `close` it; belongs to one event loop."""

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        on_exit: Callable[[WorkerExit], None] | None = None,
    ) -> None:
        self.spec = spec
        self._clock = clock or SystemClock()
        self._on_exit = on_exit
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

    async def start(self, *, force: bool = False) -> None:
        """Return once the worker is ready; joins a start that is under way. *force* overrules back-off and `failed`.

        Raises:
            WorkerCrashed: it crashed while starting.
            ProviderError: its set-up call was refused or took too long, it is restarting or given up, or it is closed.
        """
        if force:
            self._log.forget()
        await self._ready()

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
        in_time = True
        try:
            left = None if deadline == math.inf else max(deadline - self._clock.monotonic(), 0)
            in_time = bool((await asyncio.wait((task,), timeout=left))[0])
            if not in_time:
                message = f"the deadline passed while the local model {self.spec.name} was starting; the start goes on"
                raise ProviderError("timeout", message, code="deadline_exceeded")
            return None if task.cancelled() else task.result()
        finally:
            self._waiters -= 1
            if in_time and not self._waiters and not task.done() and not task.cancelling():
                task.cancel()

    def _started(self, task: asyncio.Task[WorkerChild]) -> None:
        self._start = None
        if not task.cancelled():
            task.exception()  # every waiter may have left by now

    async def _start_child(self) -> WorkerChild:
        await self._wait_for_turn()
        if self._child is not None:
            await self._child.ended.wait()
            self._child = None
        child = await WorkerChild.spawn(self.spec, self._clock, self._child_ended)
        try:
            await child.greeted()
            await self._set_up(child)
        except BaseException as error:
            await child.end(0)
            if isinstance(error, Exception) and not isinstance(error, WorkerCrashed):
                self._log.refused(self._clock.monotonic())
            raise
        child.watch_heartbeats()
        self._log.ready(self._clock.monotonic())
        self._child = child
        return child

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

    async def _set_up(self, child: WorkerChild) -> None:
        setup = self.spec.setup
        if setup is None:
            return
        deadline = self._clock.monotonic() + setup.timeout
        call = await child.call(
            setup.method, setup.params, PhaseLimits(None, None, None, None, deadline_at=deadline), _nothing
        )
        try:
            self.setup_result = await call.result()
        except ProviderError as error:
            if error.code != "deadline_exceeded":
                raise
            message = (
                f"the local model {self.spec.name} was not ready within {setup.timeout:g} s; its loader was killed"
            )
            raise ProviderError("timeout", message, code="load_timeout") from None
        finally:
            call.abandon()

    def _child_ended(self, how: WorkerExit) -> None:
        if not how.expected:
            self._log.crashed(self._clock.monotonic())
        if self._on_exit is not None:
            self._on_exit(how)


def _nothing() -> None:
    """A call that held no slot has ended."""
