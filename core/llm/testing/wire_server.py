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
import ssl
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from core.llm.testing.wire_connection import Peer, WireConnection, WireRequest
from core.llm.testing.wire_steps import WireScript, answer

__all__ = ["WireConnection", "WireRequest", "WireServer"]

_UNSCRIPTED = answer('{"error": {"message": "the test has no script for this request"}}', 500)


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
        self._open: set[Peer] = set()
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
        self._server = await loop.create_server(lambda: Peer(self), "127.0.0.1", 0, ssl=self._tls)

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

    def connected(self, peer: Peer) -> WireScript | None:
        """Write *peer* down; returns what it begins with."""
        self._open.add(peer)
        self._tasks.add(peer.task)
        peer.task.add_done_callback(self._tasks.discard)
        self.connections.append(peer.record)
        return self._on_connect.popleft() if self._on_connect else None

    def disconnected(self, peer: Peer) -> None:
        """It has ended."""
        self._open.discard(peer)

    async def script_for(self, request: WireRequest) -> WireScript | None:
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

    def chosen(self, request: WireRequest) -> WireScript:
        """The script of *request*, whose body is here."""
        return _UNSCRIPTED if self._choose is None else self._choose(request)
