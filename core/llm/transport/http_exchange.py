"""The short way through aiohttp: its connection pool and its parser, without its session, request and response objects.

Those objects cost more than everything else a call needs. What they add (cookies, redirects, authentication by
URL, tracing) is what this library forbids or does itself. Requests that need more than one write of moderate size at
once take the long way (`ClientSession.request`); both end in the same kind of answer.
"""

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import ClientConnectionError, ClientConnectionResetError, ClientRequest, ClientTimeout, StreamReader
from aiohttp.connector import Connection
from multidict import CIMultiDictProxy
from yarl import URL

from core.llm.transport.http_connector import Connector

# aiohttp refuses the same when it writes headers; everything else may be in a value.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_IN_VALUE: Final = re.compile(r"[\r\n\0]")
_FORBIDDEN_IN_TARGET: Final = re.compile(r"[\x00-\x20\x7f-\uffff]")
_NO_TIMEOUT: Final = ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
_BODY_EXPECTED: Final = frozenset({"POST", "PUT", "PATCH"})
_HEADS_KEPT: Final = 64
_TARGETS_KEPT: Final = 256


class Exchange:
    """The head of an answer whose body is still on the wire: the part of `ClientResponse` that is needed."""

    __slots__ = ("closed", "connection", "content", "headers", "status")

    def __init__(
        self, connection: Connection, status: int, headers: CIMultiDictProxy[str], content: StreamReader
    ) -> None:
        self.connection: Connection | None = connection
        self.status = status
        self.headers = headers
        self.content = content
        self.closed = False
        content.on_eof(self._ended)

    def _ended(self) -> None:
        if not self.closed:
            self.closed = True
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.release()

    def close(self) -> None:
        """Cut the connection, and wake whoever reads from it."""
        self.closed = True
        if not self.content.is_eof() and self.content.exception() is None:
            self.content.set_exception(ClientConnectionError("Connection closed"))
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


class Exchanger:
    """Writes requests to one origin over the connections of *connector*."""

    def __init__(
        self, connector: Connector, base: str, headers: Mapping[str, str], stream_headers: Mapping[str, str], limit: int
    ) -> None:
        url = URL(base)
        self._connector = connector
        self._base = base
        self._limit = limit
        # The pool asks a request where it goes and nothing else, so one will do for all.
        self._template = ClientRequest("GET", url, loop=connector._loop)  # noqa: SLF001 - the loop it was made in
        self._host = self._template.headers["Host"]
        self._common = dict(headers), dict(stream_headers)
        self._prepared = _lines(headers), _lines(stream_headers)
        # By all that a head is made of. What calls to one model with one key differ in is the length of the body.
        self._heads: dict[tuple[object, ...], bytes] = {}
        self._targets: dict[str, str] = {}

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, *, streaming: bool
    ) -> Exchange:
        """Write one request and return the head of its answer.

        Raises:
            aiohttp.ClientError, aiohttp.HttpProcessingError: no answer, or none that is HTTP.
            ValueError: a header or the path holds what HTTP forbids.
        """
        made_of = (method, path, streaming, *headers.items())
        head = self._heads.get(made_of)
        if head is None:
            head = self._head(method, path, headers, streaming=streaming)
            if len(self._heads) >= _HEADS_KEPT:
                self._heads.clear()
            self._heads[made_of] = head
        if body is not None or method in _BODY_EXPECTED:
            body = body or b""
            data = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
        else:
            data = head + b"\r\n"
        connection = await self._connector.connect(self._template, [], _NO_TIMEOUT)
        try:
            protocol = connection.protocol
            if protocol is None or protocol.transport is None or protocol.transport.is_closing():
                raise ClientConnectionResetError("Cannot write to closing transport")
            protocol.set_response_params(
                skip_payload=method == "HEAD", read_until_eof=True, auto_decompress=False, max_field_size=self._limit
            )
            protocol.transport.write(data)
            while True:
                message, content = await protocol.read()
                if message.code >= 200 or message.code == 101:
                    return Exchange(connection, message.code, message.headers, content)
        except BaseException:
            connection.close()
            raise

    def _head(self, method: str, path: str, headers: Mapping[str, str], *, streaming: bool) -> bytes:
        """The head of a request but for the length of its body."""
        common = self._common[streaming]
        prepared = self._prepared[streaming]
        own = {name.lower(): value for name, value in headers.items()}
        if not common.keys().isdisjoint(own):
            prepared, own = "", {**common, **own}
        target = self._targets.get(path) or self._target(path)
        return f"{method} {target} HTTP/1.1\r\nHost: {self._host}\r\n{prepared}{_lines(own)}".encode()

    def _target(self, path: str) -> str:
        target = URL(self._base + path, encoded=True).raw_path_qs
        if _FORBIDDEN_IN_TARGET.search(target):
            raise ValueError("the path holds a character that HTTP forbids")
        if len(self._targets) >= _TARGETS_KEPT:
            self._targets.clear()
        self._targets[path] = target
        return target


def _lines(headers: Mapping[str, str]) -> str:
    lines = ""
    for name, value in headers.items():
        if _FORBIDDEN_IN_VALUE.search(value) or not _TOKEN.fullmatch(name):
            raise ValueError("a header holds a character that HTTP forbids")
        lines += f"{name}: {value}\r\n"
    return lines
