"""A proxy on 127.0.0.1 that makes the way to any server bad: slow, narrow, choppy, cut, reset or dead.

It knows nothing of what travels: put it in front of a local model server, a fake or a real one.

```python
async with ToxicProxy("127.0.0.1", 11434) as proxy:
    proxy.add(Latency(0.1, jitter=0.05))
    proxy.add(LimitData(1000))
    ...                                       # base_url: f"http://127.0.0.1:{proxy.port}"
```
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

Direction = Literal["down", "up"]
"""`down` is from the server to the client."""

_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class Latency:
    """Each piece comes so many seconds later, give or take up to `jitter`; their order stays."""

    seconds: float
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """No more than so many bytes a second."""

    bytes_per_second: float


@dataclass(frozen=True, slots=True)
class Slicer:
    """Cuts what passes into pieces of so many bytes, with a pause after each."""

    size: int
    gap: float = 0.0


@dataclass(frozen=True, slots=True)
class LimitData:
    """Closes the connection after so many bytes."""

    bytes: int


@dataclass(frozen=True, slots=True)
class ResetPeer:
    """Resets the connection so many seconds after it was accepted."""

    after: float = 0.0


@dataclass(frozen=True, slots=True)
class SlowClose:
    """Holds the end of the connection back for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Timeout:
    """Swallows everything; `after` so many seconds the connection is closed, `None`: never."""

    after: float | None = None


Toxic = Latency | Bandwidth | Slicer | LimitData | ResetPeer | SlowClose | Timeout


class ToxicProxy:
    """Forwards connections to one server, through the toxics of the moment. The seed decides the jitter."""

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self._target = (host, port)
        self._rng = random.Random(seed)
        self._toxics: list[tuple[Toxic, Direction]] = []
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self.accepted = 0
        """Connections so far."""

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("the proxy is not running: use `async with ToxicProxy(host, port) as proxy`")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def open_connections(self) -> int:
        """How many connections pass through it now."""
        return len(self._links)

    def add(self, toxic: Toxic, direction: Direction = "down") -> None:
        """Let *toxic* work on what passes from now on, also on open connections."""
        self._toxics.append((toxic, direction))

    def clear(self) -> None:
        """The way is good again; what was closed stays so."""
        self._toxics.clear()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Cut every connection and stop listening."""
        if self._server is None:
            return
        self._server.close()
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = asyncio.get_running_loop().create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = asyncio.get_running_loop().time()
        try:
            there, onwards = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        ways = [
            asyncio.create_task(self._pump(there, writer, "down", began)),
            asyncio.create_task(self._pump(reader, onwards, "up", began)),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if any(isinstance(way.exception(), _Cut) for way in done if not way.cancelled()):
                _reset(writer)
            else:
                await self._close_slowly()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, onwards):
                end.close()
            for end in (writer, onwards):
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    def _active(self, direction: Direction) -> list[Toxic]:
        return [toxic for toxic, way in self._toxics if way == direction]

    async def _close_slowly(self) -> None:
        for toxic, _ in self._toxics:
            if isinstance(toxic, SlowClose):
                await asyncio.sleep(toxic.seconds)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: Direction, began: float
    ) -> None:
        passed = 0
        with contextlib.suppress(ConnectionError):
            while True:
                data = await self._unless_reset(lambda: source.read(_CHUNK), direction, began)
                if not data:
                    return
                for toxic in self._active(direction):
                    data = await self._through(toxic, data, passed, sink)
                passed += len(data)
                if data:
                    sink.write(data)
                    await sink.drain()
                if any(isinstance(one, LimitData) and passed >= one.bytes for one in self._active(direction)):
                    return

    async def _unless_reset(self, read: Callable[[], Awaitable[bytes]], direction: Direction, began: float) -> bytes:
        """What *read* gives; `_Cut` once a reset is due. Toxics that come while it waits are noticed within 20 ms."""
        loop, waiting = asyncio.get_running_loop(), asyncio.ensure_future(read())
        try:
            while not waiting.done():
                resets = [one.after for one in self._active(direction) if isinstance(one, ResetPeer)]
                left = min(resets, default=float("inf")) + began - loop.time()
                if left <= 0:
                    raise _Cut
                await asyncio.wait([waiting], timeout=min(left, 0.02))
            return waiting.result()
        finally:
            waiting.cancel()

    async def _through(self, toxic: Toxic, data: bytes, passed: int, sink: asyncio.StreamWriter) -> bytes:
        """What *toxic* leaves of *data*; what it delivers itself is not returned."""
        match toxic:
            case Latency(seconds, jitter):
                await asyncio.sleep(max(0.0, seconds + self._rng.uniform(-jitter, jitter)))
            case Bandwidth(rate):
                await asyncio.sleep(len(data) / rate)
            case Slicer(size, gap):
                for start in range(0, len(data) - size, size):
                    sink.write(data[start : start + size])
                    await sink.drain()
                    await asyncio.sleep(gap)
                return data[(len(data) - 1) // size * size :]
            case LimitData(limit):
                return data[: max(0, limit - passed)]
            case Timeout(after):
                if after is None:
                    return b""
                await asyncio.sleep(after)
                raise ConnectionResetError
            case ResetPeer() | SlowClose():
                pass
        return data


class _Cut(Exception):
    """The connection is to be reset."""


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    # Closing with a linger time of zero sends a reset.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
