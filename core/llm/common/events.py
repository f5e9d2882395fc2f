"""What happens inside, as a closed set of frozen events, and the bus that hands them out.

Logs, metrics, traces and the audit trail are subscribers; a host may be one too. A subscriber that raises disturbs
neither the call nor the other subscribers.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, overload

from core.llm.common.exceptions import ConfigIssue
from core.llm.common.log import log
from core.llm.common.types import CallWarning, ModelRef, Usage

if TYPE_CHECKING:
    from core.llm.common.trace import AttemptTrace, CallTrace


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class CallFinished(Event):
    """A call has ended: answered, failed, cancelled, or left before its stream's end."""

    call_id: str
    outcome: Literal["answered", "failed", "cancelled", "abandoned"]
    target: ModelRef | None
    duration: float
    usage: Usage | None
    trace: "CallTrace"


@dataclass(frozen=True, slots=True)
class CallFailed(CallFinished):
    """A call has ended without an answer, or its stream broke."""

    error: str = ""
    """What its caller was told, after the type of the error."""


@dataclass(frozen=True, slots=True)
class CallRecorded(Event):
    """What was asked and answered. Only those get it who subscribe to this very kind, such as the audit log."""

    call_id: str
    request: Any
    """The `LLMRequest` as it was sent last."""
    answer: str
    outcome: str
    target: ModelRef | None
    usage: Usage | None
    trace: "CallTrace"


@dataclass(frozen=True, slots=True)
class AttemptFailed(Event):
    """One attempt has failed; `attempt.decision` says what happens next."""

    call_id: str
    attempt: "AttemptTrace"


@dataclass(frozen=True, slots=True)
class CallRecovered(Event):
    """A call was answered although an earlier attempt of it had failed."""

    call_id: str
    target: ModelRef
    attempts: int


@dataclass(frozen=True, slots=True)
class RequestAdjusted(Event):
    """A request went out without something it asked for, because the model does not take it."""

    call_id: str
    target: ModelRef
    adjustments: tuple[CallWarning, ...]


@dataclass(frozen=True, slots=True)
class ProviderStateChanged(Event):
    """A provider, key or model was gated, ejected, quarantined, or has come back."""

    subject: str
    state: str
    reason: str
    next_try: float | None = None
    """Seconds until it is tried again, where that is known."""


@dataclass(frozen=True, slots=True)
class ProviderDisabled(Event):
    """A configured provider is off, and why."""

    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConfigApplied(Event):
    """A configuration is live. `changes` are one line each, secrets masked."""

    generation: int
    changes: tuple[str, ...]
    duration: float
    restart_required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigRejected(Event):
    """An edited configuration was refused; the one before stays."""

    issues: tuple[ConfigIssue, ...]
    generation: int
    """The generation that stays in force."""


@dataclass(frozen=True, slots=True)
class WatcherDegraded(Event):
    """File events are not available or were lost; polling has taken over."""

    reason: str


@dataclass(frozen=True, slots=True)
class RuntimeRetired(Event):
    """An old configuration has no call left and its resources are closed."""

    generation: int
    forced: bool
    """True where calls were cut because the drain time was over."""


@dataclass(frozen=True, slots=True)
class ModelEvent(Event):
    """A local model changes: pull, load, unload, crash."""

    model: str
    kind: Literal["pull", "load", "unload", "state", "crash"]
    state: str
    completed: float | None = None
    total: float | None = None
    """Unit of both: bytes for a pull, steps for a load."""
    message: str = ""


Subscriber = Callable[[Event], None]
E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)


class Subscription:
    """Ends the subscription when closed or left as a context manager."""

    __slots__ = ("_cancel",)

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def close(self) -> None:
        """Stop receiving events. Idempotent."""
        self._cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_COMPLAINT_INTERVAL: Final = 60.0
"""Seconds between two log lines about subscribers that raise."""


class EventBus:
    """Hands each event to its subscribers, synchronously and in order of subscription.

    A subscriber must be quick; for slow work use `stream`, which buffers and drops the oldest events when full.
    """

    __slots__ = ("_complained", "_named", "_subscribers", "_wanted")

    def __init__(self) -> None:
        self._complained: float = float("-inf")
        self._wanted: dict[type[Event], bool] = {}
        self._named: dict[type[Event], bool] = {}
        self._subscribers: tuple[tuple[Subscriber, tuple[type[Event], ...]], ...] = ()

    def wants(self, kind: type[Event]) -> bool:
        """True while anyone listens to events of *kind*; lets hot paths skip building one."""
        wanted = self._wanted.get(kind)
        if wanted is None:
            wanted = any(not kinds or issubclass(kind, kinds) for _, kinds in self._subscribers)
            self._wanted[kind] = wanted
        return wanted

    def wants_only(self, kind: type[Event]) -> bool:
        """True while anyone asked for *kind* by name: for events that hold what not everybody should see."""
        wanted = self._named.get(kind)
        if wanted is None:
            wanted = self._named[kind] = any(kind in kinds for _, kinds in self._subscribers)
        return wanted

    def publish(self, event: Event) -> None:
        """Deliver *event*; never raises."""
        for subscriber, kinds in self._subscribers:
            if not isinstance(event, kinds) if kinds else event.__class__ is CallRecorded:
                continue
            try:
                subscriber(event)
            except Exception as error:  # noqa: BLE001 - a listener's bug must not become a failed call
                self._complain(event, error)

    def _complain(self, event: Event, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained >= _COMPLAINT_INTERVAL:
            self._complained = now
            log("WARNING", "a subscriber of {} raised {}", type(event).__name__, type(error).__name__)

    @overload
    def subscribe(self, subscriber: Subscriber) -> Subscription: ...
    @overload
    def subscribe(self, subscriber: Callable[[E], None], kind: type[E], /) -> Subscription: ...
    @overload
    def subscribe(self, subscriber: Callable[[E | F], None], kind: type[E], other: type[F], /) -> Subscription: ...
    @overload
    def subscribe(self, subscriber: Callable[[E], None], *kinds: type[E]) -> Subscription: ...
    def subscribe(self, subscriber: Callable[[Any], None], *kinds: type[Event]) -> Subscription:
        """Call *subscriber* for each event of *kinds* (all events when none are named)."""
        entry = (subscriber, kinds)
        self._subscribers = (*self._subscribers, entry)
        self._wanted.clear()
        self._named.clear()

        def cancel() -> None:
            self._subscribers = tuple(other for other in self._subscribers if other is not entry)
            self._wanted.clear()
            self._named.clear()

        return Subscription(cancel)

    @overload
    def stream(self, *, limit: int = 256) -> AsyncIterator[Event]: ...
    @overload
    def stream(self, kind: type[E], /, *kinds: type[E], limit: int = 256) -> AsyncIterator[E]: ...
    async def stream(self, *kinds: type[Any], limit: int = 256) -> AsyncIterator[Any]:
        """Events as they happen, for a consumer that may be slow: at most *limit* wait, the oldest are dropped."""
        waiting: deque[Event] = deque(maxlen=limit)
        arrived = asyncio.Event()

        def take(event: Event) -> None:
            waiting.append(event)
            arrived.set()

        with self.subscribe(take, *kinds):
            while True:
                await arrived.wait()
                arrived.clear()
                while waiting:
                    yield waiting.popleft()
