"""The one shape of a call: `Handler = (Call) -> async context manager of Reply`.

Entering a handler means that the first output is here (or the whole answer, when nothing is streamed); leaving it means
that the call is over, however it ended. Every layer takes a handler and returns one, so a layer is written once for
streams and for whole answers.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal

from core.llm.common.clock import Clock, Deadline
from core.llm.common.events import EventBus
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.trace import AttemptTrace, CallTrace
from core.llm.common.types import ModelRef
from core.llm.pipeline.guard import Guard
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.base.response import (
    EmbeddingResponse,
    LLMResponse,
    ResponseCollector,
    StreamEvent,
)

Mode = Literal["generate", "stream", "embed"]
Outcome = Literal["open", "answered", "failed", "cancelled", "abandoned"]


class Call:
    """Everything that belongs to one call while it runs."""

    __slots__ = (
        "alternatives",
        "api_key",
        "attempt",
        "attempts_left",
        "clock",
        "deadline",
        "dimensions",
        "events",
        "generation",
        "guard",
        "id",
        "inputs",
        "mode",
        "request",
        "rng",
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
        self.guard = Guard(clock)
        self.target: ModelRef | None = None
        self.attempt: AttemptTrace | None = None
        self.api_key: str | None = None
        self.attempts_left = 1
        self.alternatives = False
        """True while routing has another candidate to go to."""

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self.clock.monotonic() - self.started


class Reply:
    """An answer that has begun: whole, or as events still to come."""

    __slots__ = (
        "_call",
        "_convert",
        "_head",
        "_position",
        "_tail",
        "collector",
        "embedding",
        "first_output_at",
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
        self._head = head or []
        self._position = 0
        self._tail = tail
        self.collector = ResponseCollector()
        self.first_output_at: float | None = None
        self.outcome: Outcome = "open"

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
        except StopAsyncIteration:
            if self.collector.finish is None:
                raise self._broken(_truncated()) from None
            return None
        except asyncio.CancelledError:
            error = guard.verdict()
            if error is None:
                raise
            raise self._broken(error) from None
        except ProviderError as error:
            raise self._broken(error) from None
        except Exception as error:
            if self._convert is None:
                raise
            raise self._broken(self._convert(error)) from None
        self.collector.add(event)
        return event

    def _broken(self, error: LLMError) -> LLMError:
        if isinstance(error, ProviderError):
            error.partial = self.collector.partial()
            error.retryable = False
            if error.billing in {"none", "ambiguous"}:
                error.billing = "estimated"
        return error

    async def close(self) -> None:
        """Close the provider's iterator, which cuts its connection when it was not read to the end."""
        tail, self._tail = self._tail, None
        aclose = getattr(tail, "aclose", None)
        if aclose is not None:
            await aclose()


def _truncated() -> ProviderError:
    return ProviderError(
        "protocol",
        "the stream ended without a finish event, so the answer is not complete",
        code="truncated",
        billing="estimated",
    )


Handler = Callable[[Call], AbstractAsyncContextManager[Reply]]
Layer = Callable[[Handler], Handler]


def compose(layers: list[Layer], innermost: Handler) -> Handler:
    """Wrap *innermost* in *layers*, the first of them outermost."""
    handler = innermost
    for layer in reversed(layers):
        handler = layer(handler)
    return handler
