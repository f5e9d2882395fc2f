"""The clockwork of one HTTP attempt: which phase it is in, and the one timer that ends it when a phase takes too long.

    queue    waiting for a free connection of the pool        deadline
    connect  name lookup, connection, TLS handshake           connect, deadline
    head     the request is written, no head of an answer     first_token (streams), deadline
    body     reading the answer
               before the first output of a stream            first_token, deadline
               after it                                       idle, progress, deadline
               an answer that is no stream, once begun        idle, deadline

There is one timer per attempt and none per chunk: it is set to the earliest moment at which anything could be due, and
when it goes off it looks again. Limits only count time spent waiting for the network, never time in which the consumer
holds an event; the deadline alone runs always.
"""

import asyncio
from dataclasses import replace
from typing import Final, Protocol

from core.llm.common.clock import Clock, TimerHandle
from core.llm.common.exceptions import ProviderError
from core.llm.common.timers import Timers
from core.llm.common.types import Billing, PhaseLimits
from core.llm.transport.http_phase import Phase, phase_error

NEVER: Final = float("inf")
EARLY: Final = 0.002
"""Seconds by which an attempt ends before its deadline: it knows what it was doing, whoever else watches does not."""
LINGER: Final = 0.02
"""Seconds a finished stream may take to end its body, so that its connection can be used again."""

_SILENCES: Final = frozenset({"first_token_timeout", "idle_timeout", "progress_timeout"})


class Connected(Protocol):
    """A connection, as far as it can be cut."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """`None` once it is closed."""


class Wire(Connected, Protocol):
    """The connection that a request is sent on."""

    heard: bool
    """Whether even a single byte has come back."""


class Answer(Protocol):
    """An answer whose body is still on its way."""

    @property
    def closed(self) -> bool:
        """Whether it has been read to its end, or cut."""

    @property
    def connection(self) -> Connected | None:
        """What it comes on; `None` once that has been given back."""

    def close(self) -> None:
        """Cut it."""


class Attempt:
    """One request on its way, from waiting for a connection to the end of the body."""

    __slots__ = (
        "_clock",
        "_ends_at",
        "_live",
        "_waiting",
        "begun",
        "cancelling",
        "connected_anew",
        "due_at",
        "failure",
        "idempotent",
        "limits",
        "output",
        "phase",
        "progress_from",
        "response",
        "since",
        "streaming",
        "task",
        "timer",
        "wait_ended",
        "wait_started",
        "wire",
    )

    def __init__(
        self,
        clock: Clock,
        limits: PhaseLimits,
        live: "Timers[Attempt]",
        *,
        streaming: bool,
        idempotent: bool,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # With the loop given it takes a third of the time.
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("HTTP requests can only be sent from a task")
        self.task: asyncio.Task[object] | None = task
        self.cancelling = task.cancelling()
        self.limits = limits
        self.streaming = streaming
        self.idempotent = idempotent
        self.phase = Phase.QUEUE
        self.connected_anew = False
        """Whether this attempt opened its connection; False means one of the pool's is used again."""
        self.begun = False
        """Whether the answer has begun: the first output of a stream, the first byte of any other body."""
        self.output = False
        self.failure: str | None = None
        """Code of the reason why the attempt was ended from outside."""
        self.response: Answer | None = None
        self.wire: Wire | None = None
        """The connection while the request is being sent; afterwards it is the response that knows it."""
        self._live = live
        self._clock = clock
        self._waiting = True
        now = self.since = self.wait_started = self.wait_ended = self.progress_from = clock.monotonic()
        self._ends_at = self.due_at = limits.deadline_at - EARLY
        if streaming and limits.first_token is not None and now + limits.first_token < self._ends_at:
            # A moment too early while the request still waits for a connection, but right for all that do not.
            self.due_at = now + limits.first_token
        self.timer: TimerHandle | None = None
        live.add(self)

    def connecting(self) -> None:
        """A connection is being opened."""
        self.phase = Phase.CONNECT
        self.connected_anew = True
        self.since = self._clock.monotonic()
        self.arm()

    def sent(self) -> None:
        """The connection is there and the request on its way."""
        self.phase = Phase.HEAD
        self.progress_from = self._clock.monotonic()
        if self.connected_anew:
            self.arm()

    def answered(self, response: Answer) -> None:
        """The head is here: from now on it is the connection that is cut, not the task that is cancelled."""
        self.response = response
        self.task = self.wire = None
        self.phase = Phase.BODY
        self._waiting = False
        self.wait_ended = self._clock.monotonic()

    def begin_wait(self) -> None:
        """The consumer asks for bytes that are not here yet."""
        now = self._clock.monotonic()
        self.progress_from += now - self.wait_ended
        self.wait_started = now
        self._waiting = True

    def end_wait(self) -> None:
        """The bytes are here."""
        self._waiting = False
        self.wait_ended = self._clock.monotonic()

    def output_seen(self) -> None:
        """Real output has arrived; the first time, the limits of a running stream replace that of the first token."""
        self.progress_from = self.wait_ended = self._clock.monotonic()
        if not self.output:
            self.output = True
            self.begin()

    def begin(self) -> None:
        """The answer has begun; from here on silence counts."""
        self.begun = True
        self.arm()

    def expect_end_within(self, seconds: float) -> None:
        """The answer is whole: from here on neither silence nor signs of life may last longer than *seconds*."""
        limits = self.limits
        self.limits = replace(
            limits,
            idle=seconds if limits.idle is None else min(limits.idle, seconds),
            progress=seconds if limits.progress is None else min(limits.progress, seconds),
        )
        self.output_seen()
        self.begin()

    def end_by(self, moment: float) -> None:
        """Bring the deadline forward to *moment*."""
        if moment < self._ends_at:
            self._ends_at = moment
            self.arm()

    def linger(self) -> None:
        """The consumer has all it wants: let the body end, then cut."""
        self.phase = Phase.LINGER
        self.since = self._clock.monotonic()
        self.arm()

    def finish(self) -> None:
        """Nothing can go wrong any more."""
        self.phase = Phase.DONE
        self._live.remove(self)

    def end(self, error: ProviderError) -> ProviderError:
        """Cut the connection and finish, because of *error*, which is returned."""
        self.cut()
        self.finish()
        return error

    def fail(self, code: str) -> None:
        """End the attempt from outside; whoever waits for it gets an error with *code*."""
        if self.phase is Phase.DONE or self.failure is not None:
            return
        self.failure = code
        self.cut()
        if self.task is not None:
            self.task.cancel()
        if self.phase is Phase.LINGER:
            self.finish()

    def cut(self) -> None:
        """Close the connection at once, whatever is still on its way in either direction."""
        if self.wire is not None and self.wire.transport is not None:
            self.wire.transport.abort()
        response = self.response
        if response is not None and not response.closed:
            connection = response.connection
            if connection is not None and connection.transport is not None:
                connection.transport.abort()
            response.close()

    def absorb_cancel(self) -> bool:
        """Take back the cancellation that `fail` sent; False where somebody else wants the task cancelled as well."""
        return self.task is None or self.task.uncancel() <= self.cancelling

    def arm(self) -> None:
        """Make sure that the timer goes off no later than anything can be due."""
        when, _ = self._due(self._clock.monotonic())
        if when < self.due_at:
            self.due_at = when
            self._live.changed(self)

    def ring(self) -> None:
        """Something may be due: end the attempt, or look again later."""
        code = self._overdue()
        if code in _SILENCES:
            # Where the loop stood still, what came in time has only now been read; who waits for it has not run yet.
            asyncio.get_running_loop().call_soon(self._ring_again)
        elif code is not None:
            self.fail(code)

    def _ring_again(self) -> None:
        code = self._overdue()
        if code is not None:
            self.fail(code)

    def _overdue(self) -> str | None:
        """What has taken too long; `None` where nothing has yet, and the next look is arranged for."""
        if self.phase is Phase.DONE:
            return None
        now = self._clock.monotonic()
        when, code = self._due(now)
        self.due_at = NEVER if when <= now else when
        self._live.changed(self)
        return code if when <= now else None

    def _due(self, now: float) -> tuple[float, str]:
        """When to look next, and what it means if that moment has come."""
        limits, phase = self.limits, self.phase
        if phase is Phase.LINGER:
            return self.since + LINGER, "abandoned"
        due, code = self._ends_at, "deadline_exceeded"
        if phase is Phase.CONNECT:
            if limits.connect is not None and self.since + limits.connect < due:
                return self.since + limits.connect, "connect_timeout"
        elif phase is Phase.QUEUE:
            # The request may be sent at any moment from now, and the timer must not come too late for what begins then.
            tick = now + limits.first_token if self.streaming and limits.first_token is not None else NEVER
            return min(due, tick), "pool_exhausted"
        elif self.streaming and not self.output:
            if limits.first_token is not None:
                due, code = _sooner(due, code, self._shifted(now) + limits.first_token, "first_token_timeout")
        elif self.begun:
            waiting_since = self.wait_started if self._waiting else now
            if limits.idle is not None:
                due, code = _sooner(due, code, waiting_since + limits.idle, "idle_timeout")
            if self.streaming and limits.progress is not None:
                due, code = _sooner(due, code, self._shifted(now) + limits.progress, "progress_timeout")
        return due, code

    def _shifted(self, now: float) -> float:
        """Start of the current stretch without output, moved on by the time the consumer has held events."""
        return self.progress_from if self._waiting else self.progress_from + now - self.wait_ended

    @property
    def is_late(self) -> bool:
        """Whether there is no time left to send anything."""
        return self._ends_at <= self.since

    @property
    def billing(self) -> Billing:
        """What is known about the cost of an attempt that ends now without a complete answer."""
        if self.idempotent or self.phase <= Phase.CONNECT:
            return "none"
        return "estimated" if self.output else "ambiguous"

    def error(self, where: str) -> ProviderError:
        """The error that belongs to `failure`."""
        return phase_error(self.failure or "abandoned", self.phase, where, self.limits, self.billing)


def _sooner(due: float, code: str, other: float, other_code: str) -> tuple[float, str]:
    return (other, other_code) if other < due else (due, code)
