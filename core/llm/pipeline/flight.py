"""One call upstream that several callers wait for, and the copies of its answer that they get.

It runs in a task of its own: a caller who leaves takes nothing away as long as another one waits, and the last one to
leave ends it. One of the callers pays: the first of those who are still there when it ends.
"""

import asyncio
import copy
from collections.abc import AsyncIterator

from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.trace import CallTrace
from core.llm.common.types import Usage
from core.llm.pipeline.cached_answer import free_of_charge, own_call, packed_or_none, unpacked
from core.llm.pipeline.handler import Call, Handler, Reply
from core.llm.providers.base.response import LLMResponse, StreamEvent, ToolCallReady, UsageReport


class Flight:
    """A call upstream under way, or just ended."""

    __slots__ = (
        "_copies",
        "_members",
        "_news",
        "_payer",
        "begun",
        "call",
        "done",
        "error",
        "events",
        "owner",
        "response",
        "task",
    )

    def __init__(self, owner: Call) -> None:
        self.owner = owner
        """Whose request and deadline it has."""
        call = self.call = owner.branch()
        call.trace = CallTrace(owner.id, owner.generation, owner.trace.requested)
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        self.done = False
        self.events: list[StreamEvent] = []
        self.response: LLMResponse | None = None
        self.error: BaseException | None = None
        self._members: list[Call] = []
        self._payer: Call | None = None
        self._copies: bytes | None = None
        self._news: list[asyncio.Future[None]] = []

    async def run(self, inner: Handler) -> None:
        """Make the call; what becomes of it is in `response` or `error` afterwards."""
        try:
            reply = await inner(self.call)
            await (self._read(reply) if self.call.mode == "stream" else self._take(reply))
        except asyncio.CancelledError:
            self.error = _cut()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, every caller is told
            self.error = error
        finally:
            self.done = True
            self._payer = self._members[0] if self._members else self.owner
            self._tell()

    async def _take(self, reply: Reply) -> None:
        async with reply:
            response = reply.response
        self.response = response
        if len(self._members) > 1 and response is not None:
            # At once: from now on it belongs to one of them, who may change it.
            self._copies = packed_or_none(self.owner.id, response)

    async def _read(self, reply: Reply) -> None:
        self.begun = True
        try:
            while (event := await reply.next()) is not None:
                self.events.append(event)
                self._tell()
        except BaseException as error:
            await reply.end("cancelled" if isinstance(error, asyncio.CancelledError) else "failed", error)
            raise
        reply.response = reply.collector.response()
        await reply.end("answered")
        self.response = reply.response

    def stopped(self) -> None:
        """Its task is over; tell those who wait, also where it was cancelled before it began."""
        if not self.done:
            self.error = _cut()
            self.done = True
            self._tell()

    def join(self, call: Call) -> None:
        """*call* waits for it too; balanced by `settle`."""
        self._members.append(call)

    def settle(self, call: Call) -> None:
        """*call* has ended, or waits no longer. Where it is the one that pays, its trace gets the attempts."""
        if call not in self._members:
            return
        self._members.remove(call)
        if not self.done and not self._members:
            self._payer = call
            self.call.give_up_attempt()
            if self.task is not None:
                self.task.cancel()
        if self._payer is call:
            self._hand_over(call)

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits any more, so that nobody must join."""
        return not self._members

    def pays(self, call: Call) -> bool:
        """Whether what it has cost is booked on *call*."""
        return self._payer is call

    def _hand_over(self, call: Call) -> None:
        own = self.call
        trace = own.trace
        call.trace.candidates = trace.candidates
        call.trace.attempts.extend(trace.attempts)
        call.trace.notes.extend(trace.notes)
        call.trace.how = trace.how
        call.target, call.attempt = own.target, own.attempt

    async def first_output(self) -> None:
        """Return once there is something to read, or it has ended."""
        while not self.begun and not self.done:
            await self._something()

    async def event(self, position: int) -> StreamEvent | None:
        """The event at *position*, once it is there; `None` behind the last one.

        Raises:
            LLMError: the stream broke.
        """
        while position >= len(self.events) and not self.done:
            await self._something()
        if position < len(self.events):
            return self.events[position]
        if self.error is not None:
            raise own_error(self.error)
        return None

    def copy(self) -> LLMResponse | None:
        """The answer for a caller who does not pay; `None` where no copy can be made."""
        return None if self._copies is None else unpacked(self.owner.id, self._copies)

    async def _something(self) -> None:
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news.append(news)
        await news

    def _tell(self) -> None:
        for news in self._news:
            if not news.done():
                news.set_result(None)
        self._news.clear()


class SharedEvents(AsyncIterator[StreamEvent]):
    """The events of a flight from the first one on, for one caller."""

    __slots__ = ("_call", "_flight", "_position")

    def __init__(self, flight: Flight, call: Call) -> None:
        self._flight = flight
        self._call = call
        self._position = 0

    async def __anext__(self) -> StreamEvent:
        event = await self._flight.event(self._position)
        if event is None:
            raise StopAsyncIteration
        self._position += 1
        # Arguments are a dictionary: each caller has one of its own.
        if isinstance(event, ToolCallReady):
            return ToolCallReady(event.index, own_call(event.call))
        if isinstance(event, UsageReport) and self._call is not self._flight.owner:
            return UsageReport(Usage())
        return event


def own_error(error: BaseException) -> BaseException:
    """A copy of *error*: raised by many, one object would collect the tracebacks of all of them."""
    return copy.copy(error) if isinstance(error, LLMError) else error


def _cut() -> ProviderError:
    return ProviderError("cancelled", "the call that this one had joined was cut", code="stopped")


def finish(flight: Flight, call: Call, currency: str, reply: Reply, _: BaseException | None) -> None:
    """Settle the streamed reply of *call*: what it has cost stands in one answer only."""
    flight.settle(call)
    response, source = reply.response, flight.response
    if response is None or source is None:
        return
    response.warnings = source.warnings
    if flight.pays(call):
        response.usage, response.cost = source.usage, source.cost
    else:
        free_of_charge(response, currency)
