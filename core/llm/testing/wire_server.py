"""An HTTP server with every byte under the control of a test: it can break off, stall, lie and babble at any point.

It listens on 127.0.0.1 at a free port, needs nothing but asyncio, and writes down what it saw: every connection, every
request, how much it sent, and when the peer hung up.

```python
async with WireServer() as server:
    server.will(stream(openai_stream("Hello"), end=False).then(Rst()), answer(openai_answer("Hello")))
    ...                                            # the first request breaks, the second is answered
    assert len(server.requests) == 2
```
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, assert_never

from core.llm.testing.wire_steps import (
    Announce,
    End,
    Fin,
    Framing,
    Garbage,
    Head,
    Rst,
    Send,
    Stall,
    Step,
    WaitFor,
    WireScript,
    answer,
)

_UNSCRIPTED = answer('{"error": {"message": "the test has no script for this request"}}', 500)
_REASONS = {200: "OK", 204: "No Content", 400: "Bad Request", 429: "Too Many Requests", 500: "Internal Server Error"}


@dataclass(slots=True)
class WireRequest:
    """One request as it arrived."""

    at: float
    """Seconds on the clock of the event loop."""
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    connection: "WireConnection" = field(repr=False)
    nth: int = 1
    """1 for the first request of its connection."""
    body: bytes = b""
    sent: int = 0
    """Bytes of the answer that were given to the network, head included."""
    done: bool = False
    """Whether its script ran to the end."""

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(slots=True)
class WireConnection:
    """One connection as it went."""

    number: int
    accepted_at: float
    requests: list[WireRequest] = field(default_factory=list)
    peer_closed_at: float | None = None
    """When the peer hung up; `None` while it has not, or where this side ended the connection first."""
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set once the connection is gone, whoever ended it."""


class WireServer:
    """Answers each request with the next script; see the module's description.

    Which script: what `choose` was given decides alone; without it the first `when` whose condition holds, else the
    next of `will`, else the one of `otherwise`, else a status 500 that says that there was none. `on_connect` scripts
    run right after a connection is accepted, one per connection, before anything is read.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[WireRequest] = []
        self.connections: list[WireConnection] = []
        self._tls = tls
        self._next: deque[WireScript] = deque()
        self._on_connect: deque[WireScript | None] = deque()
        self._rules: list[tuple[Callable[[WireRequest], bool], WireScript]] = []
        self._default = _UNSCRIPTED
        self._choose: Callable[[WireRequest], WireScript] | None = None
        self._server: asyncio.Server | None = None
        self._open: set[_Peer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()

    def will(self, *scripts: WireScript) -> None:
        """Answer the next requests, in the order in which they arrive."""
        self._next.extend(scripts)

    def forget(self) -> None:
        """Drop the scripts of `will` that no request has come for."""
        self._next.clear()

    def otherwise(self, script: WireScript) -> None:
        """Answer every request that nothing else answers."""
        self._default = script

    def when(self, condition: Callable[[WireRequest], bool], script: WireScript) -> None:
        """Answer every request for which *condition* holds; it sees the request without its body."""
        self._rules.append((condition, script))

    def choose(self, chooser: Callable[[WireRequest], WireScript]) -> None:
        """Let *chooser* answer every request; it sees the request with its body."""
        self._choose = chooser

    def on_connect(self, *scripts: WireScript | None) -> None:
        """Begin the next connections with these steps; `None` leaves one alone."""
        self._on_connect.extend(scripts)

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("the wire server is not running: use `async with WireServer() as server`")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    @property
    def unsent_bytes(self) -> int:
        """How many bytes the network has not taken yet: what piles up when a client stops reading."""
        return sum(peer.transport.get_write_buffer_size() for peer in self._open)

    async def wait_for_requests(self, count: int, timeout: float = 30.0) -> None:
        """Return once *count* requests have arrived; `TimeoutError` where they do not in time."""
        async with asyncio.timeout(timeout), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Peer(self), "127.0.0.1", 0, ssl=self._tls)

    async def stop(self) -> None:
        """Cut every connection and stop listening; returns when nothing is left."""
        if self._server is None:
            return
        self._server.close()
        peers = list(self._open)
        for peer in peers:
            peer.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for peer in peers:
            await peer.record.ended.wait()
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _connected(self, peer: "_Peer") -> WireScript | None:
        self._open.add(peer)
        self._tasks.add(peer.task)
        peer.task.add_done_callback(self._tasks.discard)
        self.connections.append(peer.record)
        return self._on_connect.popleft() if self._on_connect else None

    def _disconnected(self, peer: "_Peer") -> None:
        self._open.discard(peer)

    async def _script_for(self, request: WireRequest) -> WireScript | None:
        """The script of *request*; `None` where its body is needed to choose one."""
        self.requests.append(request)
        async with self._arrived:
            self._arrived.notify_all()
        if self._choose is not None:
            return None
        for condition, script in self._rules:
            if condition(request):
                return script
        return self._next.popleft() if self._next else self._default

    def _chosen(self, request: WireRequest) -> WireScript:
        return _UNSCRIPTED if self._choose is None else self._choose(request)


class _Gone(Exception):
    """The connection has ended, and the script with it."""


class _Peer(asyncio.Protocol):
    """One connection: reads requests, runs scripts."""

    transport: asyncio.Transport
    record: WireConnection
    task: asyncio.Task[None]

    def __init__(self, server: WireServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._news = asyncio.Event()
        self._gone = asyncio.Event()
        self._closing = False
        self._framing: Framing = "length"
        self._request: WireRequest | None = None
        self._first: WireScript | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server hands out
        self.transport = transport
        loop = asyncio.get_running_loop()
        self.record = WireConnection(len(self._server.connections) + 1, loop.time())
        self.task = loop.create_task(self._serve())
        self._first = self._server._connected(self)  # noqa: SLF001 - one unit

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._news.set()

    def eof_received(self) -> bool:
        self._peer_left()
        return False

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._peer_left()
        self.record.ended.set()
        self._server._disconnected(self)  # noqa: SLF001 - one unit

    def _peer_left(self) -> None:
        if not self._closing and self.record.peer_closed_at is None:
            self.record.peer_closed_at = asyncio.get_running_loop().time()
        self._gone.set()
        self._news.set()

    def abort(self) -> None:
        """End it from the server's side, at once."""
        self._closing = True
        self._gone.set()
        self.transport.abort()

    async def _serve(self) -> None:
        with contextlib.suppress(_Gone):
            if self._first is not None:
                await self._run(self._first)
            while True:
                await self._run(await self._next_script())
                if self._request is not None:
                    self._request.done = True

    async def _next_script(self) -> WireScript:
        head = await self._read_until(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        if lines[0].count(" ") != 2:
            # Not HTTP: a client that speaks TLS to a plain port, say.
            self._close()
            raise _Gone
        method, path, _ = lines[0].split(" ")
        fields = (line.partition(":") for line in lines[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        now = asyncio.get_running_loop().time()
        request = WireRequest(now, method, path, headers, self.record, len(self.record.requests) + 1)
        self.record.requests.append(request)
        self._request = request
        script = await self._server._script_for(request)  # noqa: SLF001 - one unit
        if script is None or script.read_body:
            request.body = await self._read_body(headers)
        return script or self._server._chosen(request)  # noqa: SLF001 - one unit

    async def _read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await self._read(int(headers.get("content-length", "0")))
        pieces = []
        while size := int(await self._read_until(b"\r\n"), 16):
            pieces.append(await self._read(size))
            await self._read_until(b"\r\n")
        await self._read_until(b"\r\n")
        return b"".join(pieces)

    async def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _read_until(self, mark: bytes) -> bytes:
        while (at := self._buffer.find(mark)) < 0:
            await self._more()
        return (await self._read(at + len(mark)))[: -len(mark)]

    async def _more(self) -> None:
        if self._gone.is_set():
            raise _Gone
        self._news.clear()
        await self._news.wait()

    async def _run(self, script: WireScript) -> None:
        for step in script.steps:
            if self._gone.is_set():
                raise _Gone
            await self._do(step)

    async def _do(self, step: Step) -> None:
        match step:
            case Head():
                self._head(step)
            case Send():
                await self._send(step)
            case Garbage():
                self._write(step.data)
            case End():
                self._end()
            case Stall(seconds):
                await self._pause(seconds)
            case Fin():
                self._close()
            case Rst():
                self._reset()
            case WaitFor(event):
                await event.wait()
            case Announce(event):
                event.set()
            case _:
                assert_never(step)

    def _head(self, step: Head) -> None:
        lines = [f"HTTP/1.1 {step.status} {_REASONS.get(step.status, 'Scripted')}"]
        lines += [f"{name}: {value}" for name, value in step.headers.items()]
        self._framing = step.framing
        if step.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        elif step.framing == "length":
            lines.append(f"Content-Length: {step.length or 0}")
        self._write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def _send(self, step: Send) -> None:
        size = step.slice or len(step.data) or 1
        for start in range(0, len(step.data), size):
            piece = step.data[start : start + size]
            if self._framing == "chunked" and not step.raw:
                piece = b"%x\r\n%s\r\n" % (len(piece), piece)
            self._write(piece)
            if step.gap:
                await self._pause(step.gap)
            elif step.slice:
                # Let each piece leave in a packet of its own.
                await asyncio.sleep(0)
            if self._gone.is_set():
                raise _Gone

    def _end(self) -> None:
        if self._framing == "chunked":
            self._write(b"0\r\n\r\n")
        elif self._framing == "close":
            self._close()

    def _write(self, data: bytes) -> None:
        self.transport.write(data)
        if self._request is not None:
            self._request.sent += len(data)

    async def _pause(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), seconds)

    def _close(self) -> None:
        self._closing = True
        self.transport.close()
        self._gone.set()

    def _reset(self) -> None:
        self._closing = True
        sock = self.transport.get_extra_info("socket")
        # Closing with a linger time of zero sends a reset.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
        self._gone.set()
