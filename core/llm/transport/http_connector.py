"""The connection pool: aiohttp's, with five additions.

It tells the attempt at hand when it is waiting for a connection, opening one, or sending. It never hands out a
connection on which bytes arrived that nobody asked for (a smuggled second answer), nor one that was idle when another
of them turned out to be dead. It wakes the reader of a body that turns out not to be HTTP, which aiohttp leaves
waiting. And it turns on TCP keep-alive, because a model may be silent for minutes.
"""

import functools
import socket
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from aiohttp import AddrInfoType, ClientPayloadError, ClientRequest, ClientTimeout, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection

from core.llm.transport.http_attempt import Attempt

if TYPE_CHECKING:
    from aiohttp.tracing import Trace

current_attempt: ContextVar[Attempt] = ContextVar("current_attempt")

# Dead peers are noticed after 60 + 4 x 15 seconds of silence, also where no timeout of ours is running.
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


def keepalive_socket(address: AddrInfoType) -> socket.socket:
    """A socket for *address* that probes a silent peer."""
    family, kind, protocol, _, _ = address
    sock = socket.socket(family=family, type=kind, proto=protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)  # macOS and Windows know other names
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


class Wire(ResponseHandler):
    """One connection. Knows whether the request at hand has been answered with even a single byte."""

    heard = False
    era = 0
    """How often connections of its pool had been found dead when it was last given back."""

    def data_received(self, data: bytes) -> None:
        """Bytes from the server."""
        self.heard = True
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """The connection is useless; so is a body that was being read from it."""
        body = self._payload
        super().set_exception(exc, *cause)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(ClientPayloadError("malformed"))


class Connector(TCPConnector):
    """A pool of `Wire`s that reports to the `Attempt` it works for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._era = 0
        self._factory = functools.partial(cast("type[ResponseHandler]", Wire), loop=self._loop)

    async def connect(self, req: ClientRequest, traces: "list[Trace]", timeout: ClientTimeout) -> Connection:
        """A clean connection; the request is written right after this returns."""
        attempt = current_attempt.get()
        while True:
            connection = await super().connect(req, traces, timeout)
            wire = connection.protocol
            if attempt.connected_anew or wire is None or not (wire.should_close or self._is_old(wire)):
                break
            # Unasked-for bytes wait on this pooled connection, which aiohttp would hand to us as our answer; or it is
            # likely as dead as another one was.
            connection.close()
        if isinstance(wire, Wire):
            wire.heard = False
            attempt.wire = wire
        attempt.sent()
        return connection

    def distrust_idle(self) -> None:
        """Use none of the connections again that are idle now: a server that restarts closes all of them."""
        self._era += 1

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if isinstance(protocol, Wire):
            # It has just brought an answer to its end, whatever became of the idle ones meanwhile.
            protocol.era = self._era
        super()._release(key, protocol, should_close=should_close)

    def _is_old(self, wire: ResponseHandler) -> bool:
        return isinstance(wire, Wire) and wire.era != self._era

    async def _create_connection(
        self, req: ClientRequest, traces: "list[Trace]", timeout: ClientTimeout
    ) -> ResponseHandler:
        attempt = current_attempt.get()
        attempt.connecting()
        return await super()._create_connection(req, traces, timeout)
