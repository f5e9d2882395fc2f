"""The answer to one request: its head, and its body piece by piece, within the limits of size and time.

An answer that breaks is an error, and everything that arrived before it broke is delivered first.
"""

import asyncio
import warnings
from collections.abc import AsyncIterator, Mapping
from typing import Protocol, Self

from aiohttp import ClientResponse

from core.llm.common.exceptions import ProviderError
from core.llm.common.wire import HttpCall
from core.llm.transport.http_attempt import Attempt
from core.llm.transport.http_encoding import Inflater, inflater, too_large
from core.llm.transport.http_errors import CAUGHT, error_of_body
from core.llm.transport.http_exchange import Exchange
from core.llm.transport.http_headers import HeaderView
from core.llm.transport.http_options import HttpOptions
from core.llm.transport.http_phase import Phase


class Origin(Protocol):
    """Where the answer comes from."""

    options: HttpOptions
    where: str
    """How messages name it."""
    loop: asyncio.AbstractEventLoop | None
    """The one that its connections belong to."""


class WholeAnswer:
    """An answer whose body came with its head: nothing is left to wait for, to cut or to give back."""

    __slots__ = ("_body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    async def read(self) -> bytes:
        """The whole body."""
        return self._body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in one piece."""
        if self._body:
            yield self._body

    def output_seen(self) -> None:
        """No limit runs any more."""

    def expect_end_within(self, seconds: float) -> None:
        """It has ended."""

    def close(self) -> None:
        """The connection has been given back."""


class HttpAnswer:
    """The head of an answer, and its body piece by piece; see `core.llm.common.wire.HttpReply`."""

    __slots__ = ("_attempt", "_call", "_content", "_inflate", "_limit", "_origin", "_received", "headers", "status")

    def __init__(self, response: ClientResponse | Exchange, attempt: Attempt, call: HttpCall, origin: Origin) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = HeaderView(response.headers)
        self._content = response.content
        self._attempt = attempt
        self._call = call
        self._origin = origin
        options = origin.options
        if self.status >= 400:
            self._limit = options.max_error_bytes
        else:
            self._limit = options.max_stream_bytes if call.streaming else options.max_response_bytes
        self._received = 0
        self._inflate: Inflater | None = None

    def decode(self, encoding: str) -> None:
        """Undo *encoding* while reading; an encoding nobody asked for cuts the connection."""
        try:
            self._inflate = inflater(encoding, self._limit, self._origin.where)
        except ProviderError:
            self.cut()
            if self.status < 400:
                raise

    async def read(self) -> bytes:
        """The whole body. Of an error, what can be had quickly: its status matters more than its text."""
        pieces: list[bytes] = []
        try:
            async for data in self:
                pieces.append(data)  # noqa: PERF401 - what arrived before a failure is kept
        except ProviderError:
            if self.status < 400 or self._attempt.failure == "transport_closed":
                raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. The iterator is the answer itself: there is one reader."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        attempt, content = self._attempt, self._content
        data = b""
        while not data:
            if attempt.failure is not None:
                raise attempt.error(self._origin.where)
            if attempt.phase >= Phase.LINGER:
                raise StopAsyncIteration
            if content.exception() is not None:
                data = self._rescued()
            elif content.total_bytes > self._received or content.is_eof():
                data = await content.readany()
            else:
                data = await self._next_from_network()
            if not data:
                attempt.finish()
                if self._inflate is not None:
                    self._inflate.end()
                raise StopAsyncIteration
            self._received += len(data)
            if self._received > self._limit:
                self.cut()
                if self.status < 400:
                    raise too_large(self._origin.where, self._limit)
                data = data[: self._limit - self._received]
            if self._inflate is not None:
                data = self._inflated(data)
        return data

    async def _next_from_network(self) -> bytes:
        attempt = self._attempt
        if self._received and not attempt.begun and not attempt.streaming:
            attempt.begin()
        attempt.begin_wait()
        failure: ProviderError | None = None
        try:
            return await self._content.readany()
        except asyncio.CancelledError:
            self.cut()
            raise
        except CAUGHT as cause:
            failure = error_of_body(cause, attempt, self._origin.where)
        finally:
            attempt.end_wait()
        self.cut()
        raise failure

    def _rescued(self) -> bytes:
        """What had arrived before the connection broke; when that is delivered, the error."""
        content = self._content
        broken = content.exception()
        if broken is None or content.total_bytes <= self._received:
            failure = error_of_body(broken or EOFError(), self._attempt, self._origin.where)
            self.cut()
            raise failure
        content.set_exception(None)  # type: ignore[arg-type]  # the only public way to read on behind an error
        try:
            return content.read_nowait()
        finally:
            content.set_exception(broken)

    def _inflated(self, data: bytes) -> bytes:
        assert self._inflate is not None  # noqa: S101 - for the type checker; the caller has looked
        try:
            return self._inflate.feed(data)
        except ProviderError:
            self.cut()
            raise

    def output_seen(self) -> None:
        """Real output has arrived, not just bytes."""
        self._attempt.output_seen()

    def expect_end_within(self, seconds: float) -> None:
        """Only the end of the body is missing."""
        self._attempt.expect_end_within(seconds)

    def cut(self) -> None:
        """Close the connection at once."""
        self._attempt.cut()
        self._attempt.finish()

    def close(self) -> None:
        """Give the connection back. A body that has not ended gets a moment to do so, then the connection is cut."""
        attempt = self._attempt
        if attempt.phase >= Phase.LINGER:
            return
        response = attempt.response
        if response is None or response.closed:
            attempt.finish()
        elif self.status < 400 and attempt.failure is None:
            # The terminal marker of a stream and the end of its body often come in two packets. Cutting between them
            # would cost every stream its connection.
            attempt.linger()
        else:
            self.cut()

    def __del__(self) -> None:
        attempt = self._attempt
        if attempt.phase >= Phase.LINGER or attempt.response is None:
            return
        loop = self._origin.loop
        if loop is None or loop.is_closed():
            return
        if attempt.response.closed:
            loop.call_soon_threadsafe(attempt.finish)
            return
        warnings.warn(
            f"an answer to {self._call.method} {self._call.path} was dropped without close(): "
            "use `async with`, or close the stream",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )
        # The collector may run in any thread.
        loop.call_soon_threadsafe(attempt.fail, "abandoned")
