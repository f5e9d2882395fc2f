"""A streamed answer as the caller sees it."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from core.llm.common.exceptions import ProviderError
from core.llm.pipeline.handler import Call, Outcome, Reply
from core.llm.providers.base.response import LLMResponse, StreamEvent
from core.llm.runtime.runtime import Runtime
from core.llm.runtime.swap import RuntimeHolder


class StreamSession:
    """What one open stream holds: a lease on its runtime, and the reply that has begun."""

    __slots__ = ("_holder", "_runtime", "call", "reply")

    def __init__(self, holder: RuntimeHolder, runtime: Runtime, call: Call) -> None:
        self._holder = holder
        self._runtime: Runtime | None = runtime
        self.call = call
        self.reply: Reply | None = None

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
        return self.reply

    async def close(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """End the reply, which closes the connection and settles the call. Idempotent."""
        try:
            if self.reply is not None:
                await self.reply.end(outcome, error)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        runtime, self._runtime = self._runtime, None
        self.call.guard.disarm()
        if runtime is not None:
            self._holder.leave(runtime, self.call)


class LLMStream(AsyncIterator[StreamEvent]):
    """Events of one answer. Use it as an async context manager, so that leaving early closes the connection at once.

    Without `async with`, iterate it to the end or call `aclose`. One consumer only.
    """

    __slots__ = ("__weakref__", "_begin", "_loop", "_reading", "_response", "_session")

    def __init__(self, begin: Callable[[], Awaitable[StreamSession]]) -> None:
        self._begin: Callable[[], Awaitable[StreamSession]] | None = begin
        self._session: StreamSession | None = None
        self._response: LLMResponse | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reading = False

    async def _open(self) -> Reply | None:
        begin, self._begin = self._begin, None
        if begin is not None:
            self._loop = asyncio.get_running_loop()
            session = await begin()
            self._session = session
            try:
                return await session.open()
            except BaseException:
                self._session = None
                raise
        return self._session.reply if self._session else None

    async def open(self) -> Self:
        """Send the call and return once its first output is here; entering does the same. Does nothing when open."""
        await self._open()
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._begin = None
        if self._reading and self._session is not None:
            # Another task waits for the next event: it gets an error there, and closes the stream on its way out.
            self._session.call.guard.cut(
                ProviderError("cancelled", "the stream was closed while another task was reading it", code="closed")
            )
            return
        session, self._session = self._session, None
        if session is not None:
            cancelled = isinstance(error, asyncio.CancelledError)
            await session.close("cancelled" if cancelled else "abandoned")

    async def __anext__(self) -> StreamEvent:
        if self._reading:
            raise RuntimeError("another task is reading this stream: it has one consumer")
        self._reading = True
        try:
            session = self._session
            if session is None:
                if self._begin is None:
                    raise StopAsyncIteration
                await self._open()
                session = self._session
                if session is None:
                    raise StopAsyncIteration
            reply = session.reply
            if reply is None:
                raise StopAsyncIteration
            try:
                event = await reply.next()
            except asyncio.CancelledError as error:
                self._session = None
                await session.close("cancelled", error)
                raise
            except BaseException as error:
                self._session = None
                await session.close("failed", error)
                raise
            if event is not None:
                return event
            self._session = None
            reply.response = reply.collector.response()
            await session.close("answered")
            self._response = reply.response
            raise StopAsyncIteration
        finally:
            self._reading = False

    async def response(self) -> LLMResponse:
        """The whole answer; reads the rest of the stream if there is any.

        Raises:
            ProviderError: the stream broke.
            RuntimeError: the stream was left before its end, so there is no complete answer.
        """
        async for _ in self:
            pass
        if self._response is None:
            raise RuntimeError("the stream was closed before its end: there is no complete response")
        return self._response

    async def aclose(self) -> None:
        """Close the connection and settle the call; does nothing when the stream has ended."""
        await self.__aexit__(None, None, None)

    def __del__(self) -> None:
        session, loop = self._session, self._loop
        if session is None or loop is None or loop.is_closed():
            return
        self._session = None
        # First, because a warning may be an error here.
        loop.call_soon_threadsafe(_reclaim, loop, session)
        warnings.warn(
            f"a stream of call {session.call.id} was dropped before its end: use `async with llm.stream(...)`",
            ResourceWarning,
            stacklevel=2,
        )


def _reclaim(loop: asyncio.AbstractEventLoop, session: StreamSession) -> None:
    task = loop.create_task(session.close("abandoned"), name="core.llm:reclaim")
    _RECLAIMING.add(task)
    task.add_done_callback(_RECLAIMING.discard)


_RECLAIMING: set[asyncio.Task[None]] = set()
