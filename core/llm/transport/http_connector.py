"""The connection pool: aiohttp's, with three additions.

It tells the attempt at hand when it is waiting for a connection, opening one, or sending; it never hands out a
connection on which bytes arrived that nobody asked for (a smuggled second answer); and it turns on TCP keep-alive,
because a model may be silent for minutes.
"""

import socket
from contextvars import ContextVar
from typing import TYPE_CHECKING

from aiohttp import AddrInfoType, ClientRequest, ClientTimeout, TCPConnector
from aiohttp.connector import Connection

from core.llm.transport.http_attempt import Attempt, Phase

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
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


class Connector(TCPConnector):
    """A pool that reports to the `Attempt` it works for."""

    async def connect(self, req: ClientRequest, traces: "list[Trace]", timeout: ClientTimeout) -> Connection:
        """A clean connection; the request is written right after this returns."""
        attempt = current_attempt.get()
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if attempt.connected_anew or protocol is None or not protocol.should_close:
                break
            # Unasked-for bytes wait on this pooled connection; aiohttp would hand them to us as our answer.
            connection.close()
        attempt.wire = connection.transport
        attempt.enter(Phase.HEAD)
        return connection

    async def _create_connection(
        self, req: ClientRequest, traces: "list[Trace]", timeout: ClientTimeout
    ) -> "ResponseHandler":
        attempt = current_attempt.get()
        attempt.connected_anew = True
        attempt.enter(Phase.CONNECT)
        return await super()._create_connection(req, traces, timeout)
