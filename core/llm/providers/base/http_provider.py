"""The one I/O loop of all HTTP providers: encode, send, decode."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from core.llm.common.exceptions import ConfigError, ConfigIssue, ProviderError
from core.llm.common.secrets import redact
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall, HttpReply, Transport
from core.llm.providers.base.provider import BaseLLMProvider, HealthReport, ProviderServices, ResourceLease
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.response import OUTPUT_EVENTS, LLMResponse, StreamEvent, StreamStart
from core.llm.transport.http_options import HttpOptions
from core.llm.transport.masked_reply import masked

_T = TypeVar("_T")

_SECRET_LENGTH: Final = 8
"""Shorter values are names and numbers, which also stand in texts that quote no secret."""
_END_SECONDS: Final = 1.0
"""How long a stream may take to end, or to report its usage, once the model has said why it stopped."""
_ASKED_SECONDS: Final = 10.0
"""How long an answer may take that no call of a host waits for."""
_NO_SUCH_ENDPOINT: Final = frozenset({404, 405, 501})


class StreamDecoder(Protocol):
    """Turns the bytes of one streamed answer into events. Total: raises nothing but `ProviderError`."""

    done: bool
    """True once nothing more is wanted from the body: `end` is called at once and whatever follows is ignored.

    A decoder may also have `finished`: the answer is whole although bytes may follow. `_END_SECONDS` are given to them,
    and losing them is no failure.
    """

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by *data*; any cut of the stream into pieces gives the same events."""

    def end(self) -> list[StreamEvent]:
        """The body has ended or `done` is set: the remaining events, or `ProviderError` where the answer is not whole.

        An error in the middle waits for this call, so that what came before it in the same bytes is delivered first.
        """


class ChatDialect(Protocol):
    """One wire format for chat. Pure."""

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*; adds to `request.warnings` what it cannot express."""

    def decode(self, request: ChatRequest, status: int, headers: Mapping[str, str], body: bytes) -> LLMResponse:
        """The answer in *body*; `ProviderError` for everything that is not a complete answer."""

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """A fresh decoder for one stream."""

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with *status* stands for, classified, its text free of secrets."""


class HttpProvider(BaseLLMProvider):
    """A provider that speaks a dialect over a transport. Subclasses supply both, and authentication."""

    transport: Transport
    """Set by `start`; a share in the connection pool of this provider's origin, which survives reloads."""

    def __init__(self, config: Any, services: ProviderServices, dialect: ChatDialect, *, base_url: str) -> None:
        super().__init__(config, services)
        self.dialect = dialect
        self.base_url = base_url
        self._lease: ResourceLease | None = None

    async def start(self) -> None:
        """Take a share in the connection pool of this origin. Connects to nothing."""
        if self._lease is None:
            options = self.http_options()
            self._lease = self.services.resources.acquire(("http", self.name, options), lambda: self._open(options))
            self.transport = self._lease.resource

    async def close(self) -> None:
        """Give the share back; the last one cuts what is still open."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.release()

    def client_transport(self) -> Transport:
        """The transport of the moment: what a client of the server's own endpoints binds to.

        Raises:
            ProviderError: the provider has not been started.
        """
        transport: Transport | None = getattr(self, "transport", None)
        if transport is None:
            raise self.not_running()
        return transport

    def not_running(self) -> ProviderError:
        """The error for a question that came before `start`."""
        return ProviderError(
            "network_error",
            "this provider is not running: start the container first",
            code="not_started",
            retryable=False,
            provider=self.name,
        )

    def _first_key(self) -> str | None:
        """The key for what no call of a host has caused: the model list, health. `None`: there is none."""
        return next(iter(self.config.secrets), None)

    def http_options(self) -> HttpOptions:
        """What the connection pool is made from; providers whose options are equal share one."""
        config = self.config
        return HttpOptions(
            base_url=self.base_url,
            headers=tuple((name, value.get_secret_value()) for name, value in config.headers.items()),
            proxy=config.proxy.get_secret_value() if config.proxy is not None else None,
            ca_file=config.ca_file,
            max_connections=config.max_connections,
            max_response_bytes=config.max_response_bytes,
        )

    def _open(self, options: HttpOptions) -> Transport:
        # Importing aiohttp takes a fifth of a second; only a host with a remote provider pays for it, once, at start.
        from core.llm.transport.http import HttpTransport  # noqa: PLC0415 - see above

        try:
            return HttpTransport(options, self.services.clock)
        except OSError as error:
            path = f"providers.{self.name}.ca_file"
            raise ConfigError([ConfigIssue(f"cannot be used: {error.strerror or error}", path)]) from None

    def authorise(self, call: HttpCall, api_key: str | None) -> HttpCall:  # noqa: ARG002 - for subclasses
        """*call* with the credential added; called as late as possible so that the key lives in one small frame."""
        return call

    def check(self, request: ChatRequest) -> None:
        """Refuse what cannot be expressed in the format; nothing is sent."""
        self.dialect.encode(request)

    async def generate(self, request: ChatRequest) -> LLMResponse:
        """The complete answer."""
        try:
            reply, body = await self._fetched(self.dialect.encode(request), request, self.transport)
            response = self.dialect.decode(request, reply.status, reply.headers, body)
        except ProviderError as error:
            raise self._placed(error, request) from None
        response.provider = self.name
        response.model = response.model or request.model
        return response

    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """The answer as events."""
        try:
            call = self.authorise(self.dialect.encode(request), request.api_key)
            reply = await self.transport.send(call, request.limits)
            request.answer_headers = reply.headers
            try:
                if reply.status >= 300:
                    body = masked(await reply.read(), self.confidential(request.api_key))
                    raise self.dialect.error(reply.status, reply.headers, body)
                decoder, ending = self.dialect.decoder(request, reply.headers), False
                try:
                    async for data in reply.chunks():
                        events = decoder.feed(data)
                        if events:
                            if _has_output(events):
                                reply.output_seen()
                            for event in events:
                                yield self._located(event, request) if event.__class__ is StreamStart else event
                        if decoder.done:
                            break
                        if not ending and getattr(decoder, "finished", False):
                            ending = True
                            reply.expect_end_within(_END_SECONDS)
                except ProviderError:
                    # The model had said why it stopped: a connection that then breaks or falls silent loses nothing.
                    if not getattr(decoder, "finished", False):
                        raise
                for event in decoder.end():
                    yield self._located(event, request) if event.__class__ is StreamStart else event
            finally:
                reply.close()
        except ProviderError as error:
            raise self._placed(error, request) from None

    def _located(self, event: StreamEvent, request: ChatRequest) -> StreamStart:
        start = event if isinstance(event, StreamStart) else StreamStart()
        return StreamStart(start.model or request.model, self.name, start.request_id)

    async def call_json(
        self, call: HttpCall, request: ChatRequest | EmbeddingRequest
    ) -> tuple[Mapping[str, str], bytes]:
        """Send *call* and return headers and body of a successful answer.

        Raises:
            ProviderError: for every status from 300 up, and everything the transport raises.
        """
        try:
            reply, body = await self._fetched(call, request, self.transport)
        except ProviderError as error:
            raise self._placed(error, request) from None
        return reply.headers, body

    async def ask(
        self, path: str, read: Callable[[Mapping[str, str], bytes], _T], transport: Transport | None = None
    ) -> _T:
        """What *read* makes of the answer to `GET path`, for what no call of a host has caused: model list, health.

        Raises:
            ProviderError: from whatever stands in the way, *read* included.
        """
        limits = PhaseLimits(first_token=_ASKED_SECONDS, deadline_at=self.services.clock.monotonic() + _ASKED_SECONDS)
        call = HttpCall("GET", path, headers={"accept": "application/json"}, idempotent=True)
        # No model is asked for: what is left of a request is who asks, and for how long.
        request = EmbeddingRequest(self.name, "", (), limits, api_key=self._first_key())
        try:
            reply, body = await self._fetched(call, request, transport or self.client_transport())
            return read(reply.headers, body)
        except ProviderError as error:
            raise self._placed(error, request) from None

    async def report_of(self, question: Awaitable[tuple[str, tuple[str, ...] | None]]) -> HealthReport:
        """The report of a health check that asks *question*; it is answered with a detail, and with names of models."""
        clock = self.services.clock
        began = clock.monotonic()
        try:
            detail, models = await question
        except ProviderError as error:
            if error.status_code not in _NO_SUCH_ENDPOINT:
                return HealthReport(False, str(error))
            detail, models = "answers, but has no model list", None
        return HealthReport(True, detail, clock.monotonic() - began, models)

    async def _fetched(
        self, call: HttpCall, request: ChatRequest | EmbeddingRequest, transport: Transport
    ) -> tuple[HttpReply, bytes]:
        """The answer to *call* and its body; raises the error that an answer from 300 up stands for."""
        reply = await transport.send(self.authorise(call, request.api_key), request.limits)
        request.answer_headers = reply.headers
        try:
            body = await reply.read()
        finally:
            reply.close()
        if reply.status >= 300:
            raise self.dialect.error(reply.status, reply.headers, masked(body, self.confidential(request.api_key)))
        return reply, body

    def _placed(self, error: ProviderError, request: ChatRequest | EmbeddingRequest) -> ProviderError:
        """*error* with its place, and without what was sent in confidence: providers like to quote what they refuse."""
        known = self.confidential(request.api_key)
        if any(secret in error.message for secret in known):
            error.message = redact(error.message, *known)
            error.args = (error.message,)
        if error.code is not None:
            error.code = redact(error.code, *known)
        if error.request_id is not None:
            error.request_id = redact(error.request_id, *known)
        # The frames below hold what the server sent; a log that shows the variables of a traceback would print it.
        return error.at(self.name, request.model).with_traceback(None)

    def confidential(self, api_key: str | None) -> tuple[str, ...]:
        """What nobody may read again: *api_key*, and the configured headers.

        As far as they are long enough to be secrets: a key such as `x`, for a server that wants none, stands in every
        second text.
        """
        values = (api_key or "", *(value.get_secret_value() for value in self.config.headers.values()))
        return tuple(value for value in values if len(value) >= _SECRET_LENGTH)


def _has_output(events: list[StreamEvent]) -> bool:
    return any(isinstance(event, OUTPUT_EVENTS) for event in events)
