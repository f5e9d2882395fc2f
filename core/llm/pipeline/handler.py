"""The one shape of a call: `Handler = (Call) -> Reply`, awaited.

A handler returns once the first output is here (or the whole answer, when nothing is streamed). The call is over when
the reply ends: every layer that has to know says so with `Reply.on_end`. A layer takes a handler and returns one, so it
is written once for streams and for whole answers.

What is done at the end is synchronous on purpose: a second cancellation cannot get in between.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Self

from core.llm.common.clock import Clock, Deadline
from core.llm.common.events import EventBus
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.timers import Timers
from core.llm.common.timers import timers as timers_of
from core.llm.common.trace import AttemptDecision, AttemptRole, AttemptTrace, CallTrace
from core.llm.common.types import ModelRef
from core.llm.pipeline.event_streams import Converted, Joined, close
from core.llm.pipeline.guard import Guard
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.base.response import (
    EmbeddingResponse,
    LLMResponse,
    RefusalDelta,
    ResponseCollector,
    StreamEvent,
    StreamFinish,
)

if TYPE_CHECKING:
    from core.llm.providers.config.models.limits import RequestLimitOptions

Mode = Literal["generate", "stream", "embed"]
Outcome = Literal["open", "answered", "failed", "cancelled", "abandoned"]


_NOTHING_SPENT: Final = Decimal(0)
_NO_RESERVES: Final[Mapping[str, tuple[ModelRef, ...]]] = {}


def _none(_: "Call") -> bool:
    return False


class Call:
    """Everything that belongs to one call while it runs."""

    __slots__ = (
        "alternatives",
        "api_key",
        "attempt",
        "attempts_left",
        "clock",
        "cost_limit",
        "deadline",
        "dimensions",
        "events",
        "free_repetition",
        "generation",
        "guard",
        "held_tokens",
        "id",
        "inputs",
        "key",
        "limits",
        "mode",
        "prefilled",
        "race",
        "request",
        "reserves",
        "rng",
        "role",
        "spent",
        "started",
        "target",
        "trace",
    )

    def __init__(
        self,
        request: LLMRequest,
        mode: Mode,
        *,
        id: str,  # noqa: A002 - the field name
        generation: int,
        deadline: Deadline,
        clock: Clock,
        rng: random.Random,
        events: EventBus,
        inputs: tuple[str, ...] = (),
        dimensions: int | None = None,
        timers: Timers[Guard] | None = None,
    ) -> None:
        self.request = request
        self.mode: Mode = mode
        self.id = id
        self.generation = generation
        self.deadline = deadline
        self.clock = clock
        self.rng = rng
        self.events = events
        self.inputs = inputs
        self.dimensions = dimensions
        self.started = clock.monotonic()
        self.trace = CallTrace(id, generation, request.model or "")
        self.guard = Guard(timers or timers_of(clock))
        self.target: ModelRef | None = None
        self.attempt: AttemptTrace | None = None
        self.api_key: str | None = None
        self.attempts_left = 1
        self.free_repetition = True
        """Whether an attempt that met a closed connection may still be repeated without counting; once for a call."""
        self.held_tokens = 0
        """Tokens of a stream that are held back before it counts as begun."""
        self.role: AttemptRole = "first"
        """What the next attempt is, unless it repeats one."""
        self.prefilled = False
        """Whether the last message is the beginning of the answer, to be continued by the model."""
        self.key: str | None = None
        """What the request means, where its answer may be shared; `None` where it must not be."""
        self.race: Callable[..., Awaitable[Reply | None]] | None = None
        """How routing tries a candidate beside the next one; `None` where it tries one after the other."""
        # Takes the call instead of holding it: a cycle through every call keeps the garbage collector busy.
        self.alternatives: Callable[[Call], bool] = _none
        """Whether routing has another candidate to go to; asked only once an attempt has failed."""
        self.limits: RequestLimitOptions | None = None
        """What this call may ask for; `None` where nothing bounds it."""
        self.reserves: Mapping[str, tuple[ModelRef, ...]] = _NO_RESERVES
        """Candidates that are kept for one reason of failure, by that reason."""
        self.cost_limit: Decimal | None = None
        """What the call may cost in all, in the configured currency; `None` where nothing bounds it."""
        self.spent = _NOTHING_SPENT
        """What its attempts have cost so far; kept only where there is a limit."""

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self.clock.monotonic() - self.started

    def branch(self) -> "Call":
        """The same call once more, for what runs beside it: everything is shared but its guard and its attempt."""
        other = object.__new__(Call)
        for name in Call.__slots__:
            setattr(other, name, getattr(self, name))
        other.guard = Guard(self.guard.timers)
        other.target = other.attempt = other.api_key = None
        return other

    def give_up_attempt(self) -> None:
        """Book the attempt that is under way as cut; whoever cancels it does so before anybody reads the trace."""
        attempt = self.attempt
        if attempt is not None and attempt.decision == "":
            attempt.duration = self.elapsed() - attempt.started
            attempt.decision, attempt.billing = "cancelled", "ambiguous"


_DECLINED: Final = frozenset({"refusal", "content_filter"})
# What answers that are not streamed have collected; nothing is ever added to it.
_NOTHING = ResponseCollector()


class Reply:
    """An answer that has begun: whole, or as events still to come. Whoever got it ends it."""

    __slots__ = (
        "_call",
        "_convert",
        "_ends",
        "_head",
        "_position",
        "_tail",
        "collector",
        "embedding",
        "error",
        "first_output_at",
        "headers",
        "on_break",
        "outcome",
        "response",
    )

    def __init__(
        self,
        call: Call,
        *,
        response: LLMResponse | None = None,
        embedding: EmbeddingResponse | None = None,
        head: list[StreamEvent] | None = None,
        tail: AsyncIterator[StreamEvent] | None = None,
        convert: Callable[[Exception], LLMError] | None = None,
    ) -> None:
        self._call = call
        self._convert = convert
        self.response = response
        self.embedding = embedding
        self._head = head or ()
        self._position = 0
        self._tail = tail
        self._ends: list[End] = []
        self.collector = ResponseCollector() if tail is not None else _NOTHING
        self.first_output_at: float | None = None
        self.headers: Mapping[str, str] | None = None
        """What the provider sent with it, by names in lower case; `None` where it speaks no HTTP."""
        self.on_break: AttemptDecision = "raise"
        """What follows where it breaks, for the trace."""
        self.outcome: Outcome = "open"
        self.error: BaseException | None = None
        """What it has ended with, where that was no answer."""

    @property
    def declined(self) -> bool:
        """Whether the model would not answer: the whole answer says so, or what a stream begins with."""
        if self.response is not None:
            return self.response.refusal is not None or self.response.finish_reason.unified in _DECLINED
        return any(
            isinstance(event, RefusalDelta)
            or (isinstance(event, StreamFinish) and event.finish_reason.unified in _DECLINED)
            for event in self._head
        )

    def belong_to(self, call: Call) -> None:
        """Be cut together with *call*, whose branch has brought this reply."""
        self._call = call

    def on_end(self, end: "End") -> None:
        """Call *end* when the call is over; the layers nearest to the provider come first."""
        self._ends.append(end)

    def convert_events(self, convert: Callable[[StreamEvent], StreamEvent | None]) -> None:
        """Let every event that is still to come pass through *convert*; what becomes `None` is left out."""
        self._head = [event for event in map(convert, self._head[self._position :]) if event is not None]
        self._position = 0
        if self._tail is not None:
            self._tail = Converted(self._tail, convert)

    def wrap_events(self, wrap: Callable[[AsyncIterator[StreamEvent]], AsyncIterator[StreamEvent]]) -> None:
        """Put what *wrap* makes between all events still to come and their reader: for layers that hold back or add.

        Its `aclose` must close what it was made of. `convert_events` costs less where one event stays one event.
        """
        if self._tail is not None:
            self._tail = wrap(Joined(self._head[self._position :], self._tail))
            self._head, self._position = (), 0

    async def end(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """Close the provider's iterator, which cuts its connection, and tell the layers. Idempotent."""
        if self.outcome != "open":
            return
        self.outcome, self.error = outcome, error
        tail, self._tail = self._tail, None
        try:
            if tail is not None:
                await close(tail)
        finally:
            self._tell(error)

    def _tell(self, error: BaseException | None) -> None:
        """Tell every layer, also where one of them fails: each may hold something that others wait for."""
        failure: Exception | None = None
        for end in self._ends:
            try:
                end(self, error)
            except Exception as problem:  # noqa: BLE001 - raised below, once all have been told
                failure = problem
        if failure is not None:
            raise failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.end("answered")
        elif isinstance(error, asyncio.CancelledError):
            await self.end("cancelled", error)
        else:
            await self.end("failed", error)

    async def next(self) -> StreamEvent | None:
        """The next event; `None` after the last one.

        Raises:
            ProviderError: the stream broke; `partial` holds exactly what was handed out before.
        """
        if self._position < len(self._head):
            event = self._head[self._position]
            self._position += 1
            self.collector.add(event)
            return event
        if self._tail is None:
            return None
        guard = self._call.guard
        try:
            guard.enter()
            try:
                event = await self._tail.__anext__()
            finally:
                guard.leave()
            self.collector.add(event)
        except StopAsyncIteration:
            if self.collector.finish is None:
                raise_alone(self.broken(_truncated()))
            return None
        except asyncio.CancelledError:
            error = guard.verdict()
            if error is None:
                raise
            raise_alone(self.broken(error))
        except ProviderError as error:
            raise_alone(self.broken(error))
        except Exception as error:
            if self._convert is None:
                raise
            raise_alone(self.broken(self._convert(error)))
        return event

    def broken(self, error: LLMError) -> LLMError:
        """*error* as that of a stream which ends with it after what was handed out."""
        if isinstance(error, ProviderError):
            error.partial = self.collector.partial()
            error.retryable = False
            if error.billing in {"none", "ambiguous"}:
                error.billing = "estimated"
        return error


def raise_alone(error: LLMError) -> NoReturn:
    """Raise *error* without what it was made from: the text of a foreign exception may hold request headers."""
    try:
        raise error from None
    finally:
        # `from None` hides the context in a traceback only; whoever walks the chain would still find it.
        error.__context__ = None


def _truncated() -> ProviderError:
    return ProviderError(
        "protocol",
        "the stream ended without a finish event, so the answer is not complete",
        code="truncated",
        billing="estimated",
    )


End = Callable[[Reply, BaseException | None], None]
Handler = Callable[[Call], Awaitable[Reply]]
Layer = Callable[[Handler], Handler]


def compose(layers: list[Layer], innermost: Handler) -> Handler:
    """Wrap *innermost* in *layers*, the first of them outermost."""
    handler = innermost
    for layer in reversed(layers):
        handler = layer(handler)
    return handler
