"""One connection of a `WireServer`: what is written down about it, and how requests are read and scripts are run."""

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any, Protocol, assert_never

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
)

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


class Director(Protocol):
    """Who decides what a connection does."""

    connections: list[WireConnection]
    """All there were."""

    def connected(self, peer: "Peer") -> WireScript | None:
        """Write *peer* down; returns what it begins with."""

    def disconnected(self, peer: "Peer") -> None:
        """It has ended."""

    async def script_for(self, request: WireRequest) -> WireScript | None:
        """The script of *request*, which has come without its body; `None` where that is needed to choose one."""

    def chosen(self, request: WireRequest) -> WireScript:
        """The script of *request*, whose body is here."""


class _Gone(Exception):
    """The connection has ended, and the script with it."""


class Peer(asyncio.Protocol):
    """One connection: reads requests, runs scripts."""

    transport: asyncio.Transport
    record: WireConnection
    task: asyncio.Task[None]

    def __init__(self, director: Director) -> None:
        self._director = director
        self._buffer = bytearray()
        self._news = asyncio.Event()
        self._gone = asyncio.Event()
        self._closing = False
        self._framing: Framing = "length"
        self._request: WireRequest | None = None
        self._first: WireScript | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The peer is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server hands out
        self.transport = transport
        loop = asyncio.get_running_loop()
        self.record = WireConnection(len(self._director.connections) + 1, loop.time())
        self.task = loop.create_task(self._serve())
        self._first = self._director.connected(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._buffer += data
        self._news.set()

    def eof_received(self) -> bool:
        """The peer sends no more."""
        self._peer_left()
        return False

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The connection has ended."""
        self._peer_left()
        self.record.ended.set()
        self._director.disconnected(self)

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
        script = await self._director.script_for(request)
        if script is None or script.read_body:
            request.body = await self._read_body(headers)
        return script or self._director.chosen(request)

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
