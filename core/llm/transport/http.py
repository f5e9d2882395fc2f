"""HTTP on aiohttp: the only place, with its `http_*` neighbours, that knows aiohttp.

What it guarantees: credentials go to the configured host only (no redirects, cookies, environment proxies or netrc);
every phase has a limit (`http_attempt`); every size has a limit; an answer that breaks is an error, and everything that
arrived before it broke is delivered first; nothing of aiohttp's leaks out, neither exceptions nor connections.
"""

import asyncio
import io
import os
import ssl
from collections.abc import Awaitable
from typing import cast

from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar
from aiohttp.abc import AbstractResolver
from yarl import URL

from core.llm.common.clock import Clock, SystemClock
from core.llm.common.exceptions import ProviderError
from core.llm.common.timers import Timers, timers
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall
from core.llm.transport.http_answer import HttpAnswer, WholeAnswer
from core.llm.transport.http_attempt import Attempt
from core.llm.transport.http_connector import Connector, current_attempt, keepalive_socket
from core.llm.transport.http_encoding import ACCEPTED
from core.llm.transport.http_errors import CAUGHT, error_of_request, redirect_error
from core.llm.transport.http_exchange import Exchange, Exchanger
from core.llm.transport.http_headers import HeaderView
from core.llm.transport.http_options import HttpOptions

ERROR_BODY_SECONDS = 5.0
"""The body of an error is worth no longer wait; its status says most."""
_ONE_WRITE = 2**20
_OWN_REQUEST = ClientSession._request  # noqa: SLF001 - what mocking libraries such as aioresponses replace
"""Where a test has put a mock in its place, requests take the long way, so that the mock sees them."""


class HttpTransport:
    """One pool of connections to one origin. Opens nothing before the first request.

    It belongs to the event loop that sends the first request; `close` it there.
    """

    def __init__(
        self, options: HttpOptions, clock: Clock | None = None, *, resolver: AbstractResolver | None = None
    ) -> None:
        self.options = options
        self._clock: Clock = clock or SystemClock()
        self._live: Timers[Attempt] = timers(self._clock)
        self._resolver = resolver
        self._base = options.base_url.rstrip("/")
        url = URL(self._base)
        self._tls = url.scheme == "https"
        self.where = url.host_port_subcomponent or "?"
        """Host, and port where it is not the usual one: how messages name this origin."""
        self._proxy = URL(options.proxy) if options.proxy else None
        # Reading the file here, not in the middle of the first request, makes a bad path a refused configuration.
        self._ssl = ssl.create_default_context(cafile=options.ca_file) if options.ca_file else True
        headers = {"user-agent": "core-llm", "accept-encoding": ACCEPTED}
        headers.update({name.lower(): value for name, value in options.headers})
        self._headers = headers
        self._stream_headers = {**headers, "accept-encoding": "identity"}
        self._session: ClientSession | None = None
        self._exchanger: Exchanger | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"HttpTransport({self.where}, {len(self._live.members)} live)"

    async def send(self, call: HttpCall, limits: PhaseLimits) -> HttpAnswer | WholeAnswer:
        """Send *call* and return once the head of the answer is here; see `core.llm.common.wire.Transport`."""
        session = self._session_here()
        attempt = Attempt(
            self._clock,
            limits,
            self._live,
            streaming=call.streaming,
            idempotent=call.idempotent,
            loop=self.loop,
        )
        if attempt.is_late:
            attempt.failure = "deadline_exceeded"
            raise attempt.end(attempt.error(self.where))
        failure: ProviderError | None = None
        response: ClientResponse | Exchange | None = None
        token = current_attempt.set(attempt)
        try:
            if self._proxy is None and _fits_one_write(call.body) and ClientSession._request is _OWN_REQUEST:  # noqa: SLF001 - see there
                response = await self._exchange(session, call)
            else:
                response = await self._request(session, call)
        except asyncio.CancelledError:
            failure = attempt.end(attempt.error(self.where))
            if attempt.failure is None or not attempt.absorb_cancel():
                raise
        except CAUGHT as cause:
            failure = self._failure_of(cause, attempt)
        finally:
            current_attempt.reset(token)
        if failure is not None or response is None:
            raise failure or attempt.error(self.where)
        return self._answer(response, attempt, call)

    def _exchange(self, session: ClientSession, call: HttpCall) -> Awaitable[Exchange]:
        """The short way, for everything that fits into one write and needs no proxy."""
        exchanger = self._exchanger
        if exchanger is None:
            connector = cast("Connector", session.connector)
            limit = self.options.max_header_bytes
            exchanger = Exchanger(connector, self._base, self._headers, self._stream_headers, limit)
            self._exchanger = exchanger
        body = cast("bytes | None", call.body)
        return exchanger.send(call.method, call.path, call.headers, body, streaming=call.streaming)

    async def _request(self, session: ClientSession, call: HttpCall) -> ClientResponse:
        """The long way, for proxies and for bodies that are written bit by bit."""
        headers = (self._stream_headers if call.streaming else self._headers).copy()
        for name, value in call.headers.items():
            headers[name.lower()] = value
        # Already encoded: whoever built the path has quoted what needs quoting, and nothing may be undone.
        url = URL(self._base + call.path, encoded=True)
        # Written in pieces, a large picture does not hold up the event loop.
        large = isinstance(call.body, bytes) and len(call.body) > _ONE_WRITE
        data = io.BytesIO(cast("bytes", call.body)) if large else call.body
        return await session.request(
            call.method, url, data=data, headers=headers, proxy=self._proxy, allow_redirects=False
        )

    def _failure_of(self, cause: BaseException, attempt: Attempt) -> ProviderError:
        if attempt.failure is not None:
            attempt.absorb_cancel()
            error = attempt.error(self.where)
        else:
            error = error_of_request(cause, attempt, self.where, tls=self._tls)
            if error.code == "stale_connection" and self._session is not None:
                # Where one had gone, the others have most likely gone too: the next attempt opens a new one.
                cast("Connector", self._session.connector).distrust_idle()
        return attempt.end(error)

    def _answer(
        self, response: ClientResponse | Exchange, attempt: Attempt, call: HttpCall
    ) -> HttpAnswer | WholeAnswer:
        status = response.status
        encoding = response.headers.get("Content-Encoding")
        if encoding is None and 200 <= status < 300 and not call.streaming and attempt.failure is None:
            content = response.content
            # As most answers do that are no stream, it may have come whole.
            if (
                content.is_eof()
                and content.exception() is None
                and content.total_bytes <= self.options.max_response_bytes
            ):
                attempt.finish()
                return WholeAnswer(status, HeaderView(response.headers), content.read_nowait())
        attempt.answered(response)
        answer = HttpAnswer(response, attempt, call, self)
        if 200 <= status < 300:
            if encoding is not None:
                answer.decode(encoding)
            return answer
        if 300 <= status < 400:
            answer.cut()
            raise redirect_error(status, response.headers.get("Location"), self.where)
        if status < 200:
            answer.cut()
            raise ProviderError(
                "protocol", f"{self.where} switched to another protocol", code="http", status_code=status
            )
        if status == 407 and self._proxy is not None:
            answer.cut()
            raise ProviderError(
                "network_error",
                f"the proxy for {self.where} wants credentials; check the name and password in `proxy`",
                code="proxy",
                status_code=status,
                retryable=False,
            )
        attempt.begin()
        attempt.end_by(self._clock.monotonic() + ERROR_BODY_SECONDS)
        if encoding is not None:
            answer.decode(encoding)
        return answer

    def _session_here(self) -> ClientSession:
        session = self._session
        loop = asyncio.get_running_loop()
        if session is not None and self.loop is loop and self._pid == os.getpid():
            return session
        if self._closed:
            raise ProviderError(
                "network_error",
                f"the connections to {self.where} are closed: its provider is stopping or was replaced",
                code="transport_closed",
                retryable=False,
            )
        if session is None:
            return self._open(loop)
        reason = "another event loop" if self.loop is not loop else "the process that this one was forked from"
        raise ProviderError(
            "network_error",
            f"the connections to {self.where} belong to {reason}: start a container of its own here",
            code="wrong_loop",
            retryable=False,
        )

    def _open(self, loop: asyncio.AbstractEventLoop) -> ClientSession:
        options = self.options
        self.loop = loop
        self._pid = os.getpid()
        self._session = ClientSession(
            connector=Connector(
                limit=options.max_connections,
                ssl=self._ssl,
                resolver=self._resolver,
                keepalive_timeout=options.keepalive,
                socket_factory=keepalive_socket,
            ),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            trust_env=False,
            auto_decompress=False,
            max_field_size=options.max_header_bytes,
        )
        return self._session

    async def close(self) -> None:
        """Cut whatever is still open and close the pool; readers get a `ProviderError` at once. Idempotent."""
        self._closed = True
        session, self._session = self._session, None
        if session is None or self._pid != os.getpid() or self.loop is None or self.loop.is_closed():
            return
        # Closing the session alone would leave readers waiting for ever.
        for attempt in tuple(self._live.members):
            attempt.fail("transport_closed")
        await session.close()


def _fits_one_write(body: object) -> bool:
    return body is None or (isinstance(body, bytes) and len(body) <= _ONE_WRITE)
