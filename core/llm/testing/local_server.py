"""What the scripted servers of all vendors have in common: a port of 127.0.0.1, a log of calls, failures to order."""

import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web
from pydantic_core import to_json

_MAX_BODY: Final = 2**26


@dataclass(frozen=True, slots=True)
class ServerCall:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    """Found by their names in any case."""
    body: Any

    @classmethod
    def of(cls, request: web.BaseRequest, body: Any) -> "ServerCall":
        """*request*, whose body has been read as *body*."""
        return cls(request.method, request.path, dict(request.query), request.headers, body)


class LocalServer(ABC):
    """A server. `async with` starts it on a free port of 127.0.0.1 and stops it."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._kept: socket.socket | None = None

    @abstractmethod
    def route(self, router: web.UrlDispatcher) -> None:
        """Add the endpoints to *router*."""

    @property
    def root(self) -> str:
        """Address of the server without a path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Address of the server, as a client of this vendor is told it."""
        return self.root

    async def start(self, port: int = 0) -> None:
        """Listen; on a free port unless one is named (to come back where it was)."""
        app = web.Application(client_max_size=_MAX_BODY)
        self.route(app.router)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self._port = self._runner.addresses[0][1]

    def shut(self) -> None:
        """Close the listening socket and every connection at once: from now on nobody answers. `stop` follows."""
        runner = self._runner
        if runner is None or runner.server is None:
            return
        for site in runner.sites:
            server = getattr(site, "_server", None)
            if server is not None:
                server.close()
        for connection in runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def restart(self) -> None:
        """End at once and come back at the same address with nothing in memory, as after a crash or an upgrade."""
        self.shut()
        await self.stop()
        self.lose_memory()
        await self.start(self._port)

    def lose_memory(self) -> None:
        """Forget what was loaded; for servers that load models."""

    async def stop(self) -> None:
        """Stop listening and cut what is open. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        # Bound to the end, so that the system gives the port to nobody else while this server is away for a moment.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        await self.start(self._kept.getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
        if self._kept is not None:
            self._kept.close()


class Refused(Exception):
    """Ends a request with a status and a body; bytes are sent as they are (HTML), all else as JSON."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body if isinstance(body, bytes) else to_json(body)
        self.headers = {"content-type": "text/html" if isinstance(body, bytes) else "application/json"}
        self.headers.update(headers or {})

    def response(self) -> web.Response:
        """The answer that it stands for."""
        return web.Response(status=self.status, body=self.body, headers=self.headers)


class PathFailures:
    """Failures to order: which paths refuse the next requests, and how."""

    def __init__(self) -> None:
        self._ordered: dict[str, list[Refused]] = {}

    def order(self, path: str, refusal: Refused, times: int) -> None:
        """Refuse *times* requests to *path*, after those that were ordered before."""
        self._ordered.setdefault(path, []).extend([refusal] * times)

    def check(self, path: str) -> None:
        """Raise the next failure of *path*, if there is one."""
        if waiting := self._ordered.get(path):
            raise waiting.pop(0)
