"""A loop that stood still for longer than a limit: what the server sent in time is an answer all the same."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from core.llm.common.exceptions import ProviderError
from tests.unit.transport.conftest import STREAM, limits

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 10\r\n\r\n"


class SlowHand:
    """A server in a thread: it sends something when a request has come, and the rest when it is told to."""

    def __init__(self, at_once: bytes, later: bytes) -> None:
        self.go, self.sent = threading.Event(), threading.Event()
        self.asked: Callable[[], object] = lambda: None
        """Called in its thread when it has sent what it sends at once."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._parts = (at_once, later)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            while not connection.recv(65536).endswith(b"}"):
                pass
            connection.sendall(self._parts[0])
            self.asked()
            self.go.wait(30)
            connection.sendall(self._parts[1])
            self.sent.set()

    def stand_still(self, seconds: float) -> None:
        """Block the loop while the rest is sent, and for *seconds* more."""
        self.go.set()
        assert self.sent.wait(30)
        time.sleep(seconds)

    def close(self) -> None:
        """Wait for its end."""
        self.go.set()
        self._listening.close()
        self._thread.join(30)


@pytest.fixture
def serve(no_leaks: None) -> Iterator[Callable[[bytes, bytes], SlowHand]]:
    """Starts such a server."""
    started: list[SlowHand] = []

    def start(at_once: bytes, later: bytes) -> SlowHand:
        started.append(SlowHand(at_once, later))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.mark.parametrize("limit", ["idle", "progress"])
async def test_what_came_while_the_loop_stood_still_was_not_silence(serve, open_transport, limit):
    """A debugger, a long computation in a handler: the host was silent, and not the server."""
    server = serve(HEAD + b"hello", b"world")
    reply = await open_transport(server.url).send(STREAM, limits(**{limit: 1.0}))
    got = []
    async for piece in reply.chunks():
        got.append(piece)
        reply.output_seen()
        if len(got) == 1:
            # Runs next, before the loop looks at anything: the limit has begun to count, and its moment passes.
            asyncio.get_running_loop().call_soon(server.stand_still, 1.2)
    reply.close()
    assert got == [b"hello", b"world"]


async def test_a_first_output_that_came_while_the_loop_stood_still_was_in_time(serve, open_transport):
    """From the head of the answer on."""
    server = serve(b"", HEAD + b"helloworld")
    loop = asyncio.get_running_loop()
    server.asked = lambda: loop.call_soon_threadsafe(server.stand_still, 2.2)
    reply = await open_transport(server.url).send(STREAM, limits(first_token=2.0))
    got = b""
    async for piece in reply.chunks():
        got += piece
        reply.output_seen()
    reply.close()
    assert got == b"helloworld"


async def test_a_loop_that_stood_still_ends_a_silent_stream_all_the_same(serve, open_transport):
    """Nothing has come, whoever waited for it."""
    server = serve(HEAD + b"hello", b"")
    reply = await open_transport(server.url).send(STREAM, limits(idle=0.3))
    with pytest.raises(ProviderError) as caught:
        async for _ in reply.chunks():
            reply.output_seen()
            asyncio.get_running_loop().call_soon(time.sleep, 0.4)
    reply.close()
    assert caught.value.code == "idle_timeout"
