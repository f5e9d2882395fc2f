"""Which runtime is live. One assignment swaps it; calls finish on the one they began with; the old one is disposed.

A lease is a plain counter: everything here happens on one event loop, with no await between reading and writing.
"""

import asyncio
import os

from core.llm.common.events import EventBus, RuntimeRetired
from core.llm.common.exceptions import ProviderError, ServiceStopping, WrongEventLoop
from core.llm.common.log import log
from core.llm.pipeline.handler import Call
from core.llm.runtime.runtime import Runtime

MAX_LIVE = 4
ROOM_PATIENCE = 10.0
"""Seconds that a reload waits for an old runtime to end before it cuts the oldest."""
CUT_GRACE = 1.0
"""Seconds that calls have to end after they were cut."""


class RuntimeHolder:
    """Holds the live runtime and the old ones that still have calls."""

    def __init__(self, events: EventBus) -> None:
        self._events = events
        self._current: Runtime | None = None
        self._closing_reason: str | None = (
            "the service has not been started: enter the container, or start its lifecycle"
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._retiring: dict[Runtime, asyncio.Task[None]] = {}

    @property
    def current(self) -> Runtime:
        """The live runtime.

        Raises:
            ServiceStopping: there is none.
        """
        if self._current is None:
            raise ServiceStopping(
                self._closing_reason or "the service has no configuration: start the container, or the lifecycle"
            )
        return self._current

    @property
    def closing_reason(self) -> str | None:
        """Why no call is admitted; `None` while calls are."""
        return self._closing_reason

    @property
    def previous(self) -> Runtime | None:
        """The live runtime, or `None` before the first one."""
        return self._current

    @property
    def live(self) -> tuple[Runtime, ...]:
        """The live runtime and all that are being drained."""
        return (*((self._current,) if self._current else ()), *self._retiring)

    def open(self) -> None:
        """Admit calls of the running event loop."""
        self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
        self._closing_reason = None

    def close_admission(self, reason: str) -> None:
        """Refuse new calls from now on."""
        self._closing_reason = reason

    def admit(self) -> Runtime:
        """Take a lease on the live runtime for one call; give it back with `leave`.

        Raises:
            ServiceStopping: no call is admitted now.
            WrongEventLoop: the call does not come from where the service was started.
        """
        runtime = self._current
        if self._closing_reason is not None or runtime is None:
            raise ServiceStopping(
                self._closing_reason or "the service has no configuration: start the container, or the lifecycle"
            )
        if self._pid != os.getpid():
            raise WrongEventLoop(
                "this process was forked from the one that started the service: start a container of its own here"
            )
        if self._loop is not asyncio.get_running_loop():
            if self._loop is not None and self._loop.is_closed():
                raise WrongEventLoop(
                    "the service was started in an event loop that has ended (each asyncio.run is a loop of its own): "
                    "start the container, call, and stop it within one asyncio.run"
                )
            raise WrongEventLoop(
                "the service was started in another event loop: call it there, from a thread with "
                "asyncio.run_coroutine_threadsafe(…, loop), or start a container of its own here"
            )
        runtime.leases += 1
        return runtime

    def leave(self, runtime: Runtime, call: Call | None = None) -> None:
        """Give a lease back."""
        runtime.leave(call)

    async def make_room(self) -> None:
        """Wait a while for old runtimes to end when there are so many that the next swap would cut one.

        Edits in quick succession thereby become fewer, later reloads instead of broken streams.
        """
        deadline = asyncio.get_running_loop().time() + ROOM_PATIENCE
        # One without calls goes at once when it is replaced.
        while sum(runtime.leases > 0 for runtime in self.live) >= MAX_LIVE:
            rest = deadline - asyncio.get_running_loop().time()
            if rest <= 0:
                return
            await asyncio.wait(self._retiring.values(), timeout=rest, return_when=asyncio.FIRST_COMPLETED)

    def swap(self, new: Runtime, drain_timeout: float) -> None:
        """Make *new* the live runtime and retire the one before; the oldest is cut when there are too many."""
        old, self._current = self._current, new
        if old is not None:
            self._retire(old, drain_timeout)
        busy = [runtime for runtime in self._retiring if runtime.leases]
        for runtime in busy[: max(0, len(busy) - (MAX_LIVE - 1))]:
            self._force(runtime)

    async def retire_all(self, drain_timeout: float) -> None:
        """Drain and dispose everything; returns when nothing is left."""
        current, self._current = self._current, None
        if current is not None:
            self._retire(current, drain_timeout)
        deadline = asyncio.get_running_loop().time() + drain_timeout
        while self._retiring:
            rest = max(0.0, deadline - asyncio.get_running_loop().time())
            _, late = await asyncio.wait(list(self._retiring.values()), timeout=rest)
            if late:
                for runtime in list(self._retiring):
                    self._force(runtime)
                await asyncio.wait(late)

    def _retire(self, runtime: Runtime, drain_timeout: float) -> None:
        empty = runtime.emptied = asyncio.Event()
        if runtime.leases == 0:
            empty.set()
        self._retiring[runtime] = asyncio.create_task(
            self._drain(runtime, empty, drain_timeout), name=f"core.llm:drain:{runtime.generation}"
        )

    async def _drain(self, runtime: Runtime, empty: asyncio.Event, drain_timeout: float) -> None:
        forced = False
        try:
            try:
                await asyncio.wait_for(empty.wait(), drain_timeout)
            except TimeoutError:
                forced = True
                self._force(runtime)
                await empty.wait()
            if runtime.leases:
                log("WARNING", "{} calls of generation {} did not end when cut", runtime.leases, runtime.generation)
        finally:
            del self._retiring[runtime]
            await self._dispose(runtime)
            self._events.publish(RuntimeRetired(runtime.generation, forced))

    def _force(self, runtime: Runtime) -> None:
        """Cut the calls of *runtime* and end its drain soon, also where a consumer never comes back for its error."""
        _cut(runtime)
        if runtime.emptied is not None:
            asyncio.get_running_loop().call_later(CUT_GRACE, runtime.emptied.set)

    async def _dispose(self, runtime: Runtime) -> None:
        kept = {id(provider) for other in self.live for provider in other.providers.values()}
        for name, provider in reversed(runtime.providers.items()):
            if id(provider) in kept:
                continue
            try:
                await provider.close()
            except Exception as error:  # noqa: BLE001 - one provider's close must not keep the others open
                log("WARNING", "provider {} raised {} while closing", name, type(error).__name__)


def _cut(runtime: Runtime) -> None:
    """Fail the calls that are still running; they end within moments."""
    for call in tuple(runtime.calls):
        call.guard.cut(
            ProviderError(
                "cancelled",
                f"the call was cut: configuration generation {runtime.generation} is being shut down",
                code="drained",
                retryable=not call.attempt or call.attempt.time_to_first_token is None,
                billing="estimated",
            )
        )
