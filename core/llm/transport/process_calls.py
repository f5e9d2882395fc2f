"""The host side of one call in a worker: what it has sent so far, who waits for it, and how long."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from core.llm.common.clock import Clock, TimerHandle
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.types import PhaseLimits

ACKNOWLEDGE_EVERY: Final = 32
"""Items taken before the worker is told; half of the worker's window, so that it need not stop."""
MAX_UNREAD_ITEMS: Final = 128
"""Twice the window: a worker that sends more does not keep to the protocol."""

NO_LIMITS: Final = PhaseLimits(connect=None, first_token=None, idle=None, progress=None)


class CallSite(Protocol):
    """What a call needs from the process it runs in."""

    clock: Clock

    def cancel_call(self, number: int) -> None:
        """Tell the worker that nobody wants the rest of call *number*. Harmless once it has ended."""

    def allow_items(self, number: int, count: int) -> None:
        """Tell the worker that *count* items of call *number* were taken."""


class WorkerCall:
    """One call. It is iterated for its items; its result is there once the iteration has ended."""

    __slots__ = (
        "_error", "_items", "_limits", "_number", "_on_end", "_output_seen", "_result", "_site", "_started", "_taken",
        "_timer", "_waiter", "_waiting_since", "abandoned", "ended",
    )  # fmt: skip

    def __init__(self, site: CallSite, number: int, limits: PhaseLimits, on_end: Callable[[], None]) -> None:
        self._site = site
        self._number = number
        self._limits = limits
        self._on_end = on_end
        self._items: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: Callable[[], LLMError] | None = None
        self._result: Any = None
        self._taken = 0
        self._output_seen = False
        self._started = self._waiting_since = site.clock.monotonic()
        self._timer: TimerHandle | None = None
        self.ended = False
        """True once the worker has said its last word about this call, or is gone."""
        self.abandoned = False
        """True once nobody wants the rest."""
        self._watch_limits()

    async def next_item(self) -> Any:
        """The next item.

        Raises:
            StopAsyncIteration: the call has ended well.
            LLMError: it has not; items that had arrived before come first.
        """
        while not self._items:
            if self._error is not None:
                raise self._error()
            if self.ended:
                raise StopAsyncIteration
            await self._wait()
        self._taken += 1
        self._acknowledge()
        return self._items.popleft()

    async def result(self) -> Any:
        """The result; items that nobody took are dropped."""
        while True:
            self._taken += len(self._items)
            self._items.clear()
            self._acknowledge()
            if self._error is not None:
                raise self._error()
            if self.ended:
                return self._result
            await self._wait()

    def _acknowledge(self) -> None:
        if self._taken >= ACKNOWLEDGE_EVERY:
            self._site.allow_items(self._number, self._taken)
            self._taken = 0

    async def _wait(self) -> None:
        self._waiting_since = self._site.clock.monotonic()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def output_seen(self) -> None:
        """Real output has arrived: from now on the limit between two pieces counts, not that of the first."""
        if not self._output_seen:
            self._output_seen = True
            self._stop_timer()
            self._watch_limits()

    def abandon(self) -> None:
        """Nobody wants the rest: the worker is told to stop. Idempotent; does nothing once the call has ended."""
        if not self.abandoned:
            self.abandoned = True
            self._items.clear()
            self._stop_timer()
            if not self.ended:
                self._site.cancel_call(self._number)

    # Called by the process the call runs in.

    def add(self, item: Any) -> bool:
        """Take an item; False where the worker has sent more than it may."""
        if self.abandoned or self._error is not None:
            return True
        self._items.append(item)
        self._wake()
        return len(self._items) <= MAX_UNREAD_ITEMS

    def finish(self, result: Any) -> None:
        """The worker has answered."""
        self._result = result
        self._end()

    def fail(self, error: Callable[[], LLMError]) -> None:
        """The worker has refused, or is gone; *error* makes the exception."""
        if self._error is None:
            self._error = error
        self._end()

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._stop_timer()
            self._wake()
            self._on_end()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # One timer per call: it looks whether a limit has passed, and if not, when to look again.

    def _watch_limits(self) -> None:
        if self.ended or self.abandoned or self._error is not None:
            return
        now = self._site.clock.monotonic()
        due, code, message = self._next_limit(now)
        if now >= due and self._waiter is not None and self._waiter.done():
            # The loop stood still: what came in time has only now been read, and whoever waits for it has not run.
            self._timer = asyncio.get_running_loop().call_soon(self._watch_limits)
        elif now >= due:
            self._timer = None
            self._error = lambda: ProviderError(
                "timeout", message, code=code, billing="estimated" if self._output_seen else "none"
            )
            self._wake()
            self._site.cancel_call(self._number)
        elif due != float("inf"):
            self._timer = self._site.clock.call_at(due, self._watch_limits)

    def _next_limit(self, now: float) -> tuple[float, str, str]:
        limits = self._limits
        ends = (limits.deadline_at, "deadline_exceeded", "the deadline passed while the local model was working")
        if not self._output_seen:
            if limits.first_token is None:
                return ends
            message = f"no output from the local model within {limits.first_token:g} s"
            return min(ends, (self._started + limits.first_token, "first_token_timeout", message))
        pauses = [pause for pause in (limits.idle, limits.progress) if pause is not None]
        if not pauses:
            return ends
        # A reader that takes its time is not the worker's fault: only time spent waiting counts.
        since = now if self._waiter is None else self._waiting_since
        message = f"no further output from the local model for {min(pauses):g} s"
        return min(ends, (since + min(pauses), "idle_timeout", message))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class WorkerStream:
    """The items of one call, as an asynchronous iterator that knows when it is left.

    Closing it, or dropping the last reference to it, tells the worker to stop.
    """

    __slots__ = ("_call", "_loop")

    def __init__(self, call: WorkerCall) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> "WorkerStream":
        return self

    async def __anext__(self) -> Any:
        return await self._call.next_item()

    async def result(self) -> Any:
        """What the worker returned at the end; items that were not read are dropped."""
        return await self._call.result()

    def output_seen(self) -> None:
        """Tell the timers that real output has arrived."""
        self._call.output_seen()

    def close(self) -> None:
        """Cancel what is still running. Idempotent."""
        self._call.abandon()

    def __del__(self) -> None:
        call = self._call
        if not call.ended and not call.abandoned and not self._loop.is_closed():
            # Garbage may be collected in any thread; the call belongs to its loop.
            self._loop.call_soon_threadsafe(call.abandon)
