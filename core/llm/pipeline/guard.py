"""End a call from outside: by its deadline, or because its configuration is being taken down.

A timeout held across a `yield` would cancel whatever task entered it. The guard instead notes which task is waiting for
the provider right now and cancels that wait only; between two waits it cancels nothing and the next wait fails at once,
unless whoever is asked for the next one ends the call before.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final

from core.llm.common.clock import TimerHandle
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.timers import Timers

GRACE = 0.05
"""Seconds after the deadline at which a provider that ignores it is cut."""
_NEVER: Final = float("inf")


class Guard:
    """Watches the waits of one call. Use as `enter()` … await … `leave()`, or as a context manager."""

    __slots__ = ("_cancelled", "_cancelling", "_error", "_loop", "_task", "between", "due_at", "timer", "timers")

    def __init__(self, timers: "Timers[Guard]") -> None:
        self.timers = timers
        self._task: asyncio.Task[object] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cancelling = 0
        self._cancelled = False
        self._error: LLMError | None = None
        self.between: Callable[[LLMError], None] | None = None
        """Told of a cut that meets no wait; set while somebody has the answer in hand and may never come back."""
        self.due_at = _NEVER
        self.timer: TimerHandle | None = None

    def arm(self, at: float) -> None:
        """Cut the call with a deadline error once *at* has passed.

        A moment later than *at*: a provider that keeps to its limits has said by then what it was doing.
        """
        if at != _NEVER:
            self.due_at = at + GRACE
            self.timers.add(self)

    def disarm(self) -> None:
        """Forget the deadline."""
        if self.due_at != _NEVER:
            self.timers.remove(self)

    def cut(self, error: LLMError) -> None:
        """Fail the wait that is going on, or else the next one, with *error*. The first cut wins."""
        if self._error is None:
            self._error = error
            if self._task is not None:
                self._cancelled = True
                self._task.cancel()
            elif self.between is not None:
                self.between(error)

    def ring(self) -> None:
        """The deadline has passed."""
        self.cut(
            ProviderError(
                "timeout",
                "the deadline of the call has passed. Raise `timeout` of the request or of the configuration",
                code="deadline_exceeded",
                retryable=False,
                billing="ambiguous",
            )
        )

    def enter(self) -> None:
        """A wait begins in the current task."""
        if self._error is not None:
            raise self._error
        # With the loop given it takes a third of the time: a stream comes here for each event.
        task = asyncio.current_task(self._loop)
        if task is not None:
            self._cancelling = task.cancelling()
            if self._loop is None:
                self._loop = task.get_loop()
        self._task = task

    def leave(self) -> None:
        """The wait is over. Our own cancellation is taken back, also where the wait ended with another error."""
        task, self._task = self._task, None
        if self._cancelled and task is not None:
            self._cancelled = False
            task.uncancel()

    def verdict(self) -> LLMError | None:
        """After `leave` and a `CancelledError`: the error it stands for, or `None` where somebody else cancelled."""
        if self._error is None:
            return None
        task = asyncio.current_task()
        if task is not None and task.cancelling() > self._cancelling:
            return None
        return self._error

    __enter__ = enter

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()
        if kind is asyncio.CancelledError:
            verdict = self.verdict()
            if verdict is not None:
                raise verdict from None
