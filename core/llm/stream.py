"""A streamed answer as the caller sees it."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from core.llm.common.exceptions import ProviderError
from core.llm.pipeline.handler import raise_alone
from core.llm.providers.base.response import LLMResponse, StreamEvent
from core.llm.runtime.streams import StreamSession


class LLMStream(AsyncIterator[StreamEvent]):
    """Events of one answer. Use it as an async context manager, so that leaving early closes the connection at once.

    Without `async with`, iterate it to the end or call `aclose`. One consumer only.
    """

    __slots__ = ("__weakref__", "_begin", "_loop", "_opening", "_response", "_session")

    def __init__(self, begin: Callable[[], Awaitable[StreamSession]]) -> None:
        self._begin: Callable[[], Awaitable[StreamSession]] | None = begin
        self._session: StreamSession | None = None
        self._response: LLMResponse | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = False

    async def _open(self) -> None:
        begin, self._begin = self._begin, None
        if begin is None:
            return
        self._loop = asyncio.get_running_loop()
        self._opening = True
        try:
            session = await begin()
        finally:
            self._opening = False
        self._session = session
        try:
            await session.open()
        except BaseException:
            self._session = None
            raise

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
        session = self._session
        if session is None:
            return
        if session.reading:
            # Another task waits for the next event: it gets an error there, and closes the stream on its way out.
            session.call.guard.cut(
                ProviderError("cancelled", "the stream was closed while another task was reading it", code="closed")
            )
            return
        self._session = None
        cancelled = isinstance(error, asyncio.CancelledError)
        await session.close("cancelled" if cancelled else "abandoned")

    async def __anext__(self) -> StreamEvent:
        session = self._session
        if session is None:
            session = await self._first()
        if session.reading:
            raise RuntimeError("another task is reading this stream: it has one consumer")
        reply = session.reply
        if reply is None:
            self._session = None
            if session.error is None:
                raise StopAsyncIteration
            raise_alone(session.error)
        session.reading = True
        try:
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
            session.reading = False
            session.left_at = session.now()

    async def _first(self) -> StreamSession:
        """Open the stream for its first event."""
        if self._opening:
            raise RuntimeError("another task is opening this stream: it has one consumer")
        await self._open()
        if self._session is None:
            raise StopAsyncIteration
        return self._session

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
        if session is None or session.error is not None or loop is None or loop.is_closed():
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
