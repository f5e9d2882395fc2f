"""The streams that are open now: what each holds, who they are, and how one is ended from outside."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from core.llm.common.clock import Clock, TimerHandle
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.types import ModelRef
from core.llm.pipeline.handler import Call, Outcome, Reply
from core.llm.routing.tokens import estimate_text

if TYPE_CHECKING:
    from core.llm.runtime.runtime import Runtime
    from core.llm.runtime.swap import RuntimeHolder

_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class ActiveStream:
    """One open stream at the moment it was looked at."""

    call_id: str
    requested: str
    """The model as the caller asked for it; empty means the default."""
    target: ModelRef | None
    """Who answers; `None` before anybody does."""
    state: Literal["opening", "waiting", "idle"]
    """Nothing has come yet; the consumer waits for the next event; or the consumer is busy with the last one."""
    started: datetime
    age: float
    """Seconds since the call began."""
    idle: float
    """Seconds since the consumer was handed its last event, while it has not asked for another; else zero."""
    characters: int
    """Delivered so far, thinking included."""
    tokens: int
    """Delivered so far: as the provider has reported, else an estimate."""
    generation: int
    """Number of the configuration that serves it."""
    user: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class StreamSession:
    """What one open stream holds: a lease on its runtime, and the reply that has begun."""

    __slots__ = (
        "_holder",
        "_runtime",
        "_streams",
        "call",
        "error",
        "idle_timeout",
        "left_at",
        "now",
        "reading",
        "reply",
    )

    def __init__(self, holder: "RuntimeHolder", runtime: "Runtime", call: Call, streams: "ActiveStreams") -> None:
        self._holder = holder
        self._runtime: Runtime | None = runtime
        self._streams = streams
        self.call = call
        self.now: Callable[[], float] = call.clock.monotonic
        self.reply: Reply | None = None
        self.error: ProviderError | None = None
        """Why it was ended from outside while nobody was waiting for it."""
        self.reading = True
        """Whether somebody waits for the first event, or for the next one."""
        self.left_at = call.started
        """When the consumer was handed its last event."""
        self.idle_timeout = runtime.config.lifecycle.stream_idle_timeout
        streams.add(self)

    async def open(self) -> Reply:
        """Send the call and return once its first output is here."""
        runtime = self._runtime
        if runtime is None:
            raise RuntimeError("the stream has been closed")
        try:
            self.reply = await runtime.handler(self.call)
        except BaseException:
            self._give_back()
            raise
        finally:
            self.reading = False
            self.left_at = self.now()
        # A consumer that is busy for ever must not keep what it holds beyond the deadline, or beyond a shutdown.
        self.call.guard.between = self._cut_between
        return self.reply

    async def close(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """End the reply, which closes the connection and settles the call. Idempotent."""
        if self.error is not None:
            return  # it is being ended already, and what it holds is given back after that
        try:
            if self.reply is not None:
                await self.reply.end(outcome, error)
        finally:
            self._give_back()

    def cut(self, error: ProviderError, outcome: Outcome) -> None:
        """End it from outside: whoever waits for the next event, or asks for it later, gets *error*."""
        if self._runtime is None or self.error is not None:
            return
        if self.reading or self.reply is None:
            self.call.guard.cut(error)
            return
        reply, self.reply, self.error = self.reply, None, error
        reply.broken(error)
        self._streams.end_soon(self._end(reply, outcome, error))

    def _cut_between(self, error: LLMError) -> None:
        if isinstance(error, ProviderError):
            self.cut(error, "failed")

    async def _end(self, reply: Reply, outcome: Outcome, error: ProviderError) -> None:
        try:
            await reply.end(outcome, error)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        runtime, self._runtime = self._runtime, None
        self.call.guard.between = None
        self.call.guard.disarm()
        if runtime is not None:
            self._streams.discard(self)
            self._holder.leave(runtime, self.call)


class ActiveStreams:
    """Every open stream of one service, by the id of its call. Belongs to the event loop of its streams.

    Streams under `lifecycle.stream_idle_timeout` share one timer, which runs only while there are some.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, StreamSession] = {}
        self._timer: TimerHandle | None = None
        self._armed = _NEVER
        self._ending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, session: StreamSession) -> None:
        """A stream is being opened."""
        self._open[session.call.id] = session
        if session.idle_timeout is not None:
            self._arm(self._clock.monotonic() + session.idle_timeout)

    def discard(self, session: StreamSession) -> None:
        """A stream has ended."""
        self._open.pop(session.call.id, None)
        if self._timer is not None and not self._open:
            self._timer.cancel()
            self._timer, self._armed = None, _NEVER

    def snapshot(self) -> tuple[ActiveStream, ...]:
        """All that are open now, the oldest first."""
        return tuple(_look(session, self._clock) for session in self._open.values())

    def cancel(self, call_id: str, reason: str) -> bool:
        """Close the stream of that call; its consumer gets an error. False where there is none."""
        session = self._open.get(call_id)
        if session is None or session.error is not None:
            return False
        said = f"the stream was cancelled{f': {reason}' if reason else ' from outside'}"
        session.cut(_error(said, "stream_cancelled"), "cancelled")
        return True

    def end_soon(self, ending: Any) -> None:
        """Run the coroutine *ending*, and keep it until it is done."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(ending, name="core.llm:end-stream")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _arm(self, when: float) -> None:
        if when < self._armed:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = when
            self._timer = self._clock.call_at(when, self._sweep)

    def _sweep(self) -> None:
        """Close what has been left alone for too long, and look again when the next one can be due."""
        self._timer, self._armed = None, _NEVER
        now = self._clock.monotonic()
        soonest = _NEVER
        for session in tuple(self._open.values()):
            limit = session.idle_timeout
            if limit is None or session.error is not None:
                continue
            due = (now if session.reading else session.left_at) + limit
            if due <= now:
                said = f"nobody asked for its next event for {limit:g} s (lifecycle.stream_idle_timeout)"
                session.cut(_error(f"the stream was closed: {said}", "consumer_idle"), "abandoned")
            else:
                soonest = min(soonest, due)
        if soonest < _NEVER:
            self._arm(soonest)


def _error(message: str, code: str) -> ProviderError:
    return ProviderError("cancelled", message, code=code, retryable=False, scope="request", billing="estimated")


def _look(session: StreamSession, clock: Clock) -> ActiveStream:
    call, reply, now = session.call, session.reply, clock.monotonic()
    age = now - call.started
    collector = reply.collector if reply is not None else None
    reported = collector.usage.output_total if collector is not None and collector.usage is not None else 0
    return ActiveStream(
        call.id,
        call.trace.requested,
        call.target,
        "opening" if reply is None else "waiting" if session.reading else "idle",
        clock.now() - timedelta(seconds=age),
        age,
        0.0 if session.reading else now - session.left_at,
        collector.characters if collector is not None else 0,
        max(reported, estimate_text(collector.text())) if collector is not None else 0,
        call.generation,
        call.request.user,
        call.request.metadata,
    )
