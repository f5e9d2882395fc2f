"""A local HTTP server that plays whatever the contract asks for, in the wire format of a subclass."""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from core.llm.testing import ContractUpstream, UpstreamAnswer, UpstreamFailure


@dataclass(frozen=True)
class Refusal:
    """A whole answer that is none."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] | None = None


class HttpUpstream(ContractUpstream):
    """Answers POST requests from a queue and GET requests at once, and notices when a client hangs up."""

    stream_type: str

    def __init__(self) -> None:
        self._queue: deque[UpstreamAnswer | Refusal | list[Sequence[float]]] = deque()
        self._received: list[Any] = []
        self._released = asyncio.Event()
        self._open = 0

    @abstractmethod
    def whole(self, answer: UpstreamAnswer) -> bytes:
        """The body of a whole answer."""

    @abstractmethod
    def frames(self, answer: UpstreamAnswer) -> tuple[list[bytes], list[bytes]]:
        """The frames of a streamed answer: one for each piece of text, and those of everything that follows."""

    @abstractmethod
    def opening(self, answer: UpstreamAnswer) -> list[bytes]:
        """The frames before the first piece of text."""

    @abstractmethod
    def vectors(self, vectors: list[Sequence[float]]) -> bytes:
        """The body of an answer to an embedding request."""

    @abstractmethod
    def refusal(self, failure: UpstreamFailure, secret: str) -> Refusal:
        """How this kind of server fails."""

    @abstractmethod
    def lookup(self, path: str) -> bytes:
        """The body of the answer to a GET request."""

    @abstractmethod
    def wants_stream(self, body: Mapping[str, Any]) -> bool:
        """Whether the request asks for a stream."""

    async def __aenter__(self):
        self._server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._listener = await asyncio.get_running_loop().create_server(self._server, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await self._server.shutdown(0.1)
        await self._listener.wait_closed()

    @property
    def received(self) -> Sequence[Any]:
        return self._received

    @property
    def open_calls(self) -> int:
        return self._open

    def answer(self, answer: UpstreamAnswer) -> None:
        self._queue.append(answer)

    def answer_vectors(self, vectors: Sequence[Sequence[float]]) -> None:
        self._queue.append(list(vectors))

    def fail(self, failure: UpstreamFailure, *, secret: str) -> None:
        if failure == "unreachable":
            self._listener.close()
            for connection in self._server.connections:
                connection.force_close()
        else:
            self._queue.append(self.refusal(failure, secret))

    def release(self) -> None:
        self._released.set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "POST":
            return web.Response(body=self.lookup(request.path), content_type="application/json")
        self._open += 1
        try:
            body = await request.json()
            self._received.append(body)
            item = self._queue.popleft()
            if isinstance(item, Refusal):
                return web.Response(
                    status=item.status, body=item.body, content_type=item.content_type, headers=item.headers
                )
            if isinstance(item, list):
                return web.Response(body=self.vectors(item), content_type="application/json")
            if self.wants_stream(body):
                return await self._stream(request, item)
            return await self._whole(request, item)
        finally:
            self._open -= 1

    async def _whole(self, request: web.BaseRequest, answer: UpstreamAnswer) -> web.StreamResponse:
        if answer.hold_after is not None:
            await self._released.wait()
        body = self.whole(answer)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        if answer.cut_after is not None:
            await response.write(body[: len(body) // 2])
            self._hang_up(request)
        else:
            await response.write(body)
        return response

    async def _stream(self, request: web.BaseRequest, answer: UpstreamAnswer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": self.stream_type})
        await response.prepare(request)
        pieces, rest = self.frames(answer)
        for frame in self.opening(answer):
            await response.write(frame)
        for number, frame in enumerate(pieces):
            if number == answer.hold_after:
                await self._released.wait()
            if number == answer.cut_after:
                # The body ends in order, as a proxy ends it whose own upstream has gone.
                await response.write_eof()
                return response
            await response.write(frame)
        for frame in rest:
            await response.write(frame)
        await response.write_eof()
        return response

    @staticmethod
    def _hang_up(request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.close()
