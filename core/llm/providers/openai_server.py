"""An OpenAI-style server of one's own: chat as everywhere, and the life of its models over an API that is its own.

It lies between `openai_style` and the folders of such servers, which add their endpoints.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from core.llm.common.clock import Clock
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall, Transport
from core.llm.dialects.errors import classify, error_of, http_error, is_error
from core.llm.dialects.headers import JSON_HEADERS
from core.llm.dialects.json import encode_json, parse_json
from core.llm.providers.base.model_manager import ServerModelManager
from core.llm.providers.base.provider import HealthReport, ModelStatus, ProgressCallback, ProviderServices
from core.llm.providers.base.server_transport import ServerTransport, address_of
from core.llm.providers.openai_style import OpenAIStyleProvider
from core.llm.transport.masked_reply import masked

_QUICK: Final = 30.0
_PATIENT: Final = PhaseLimits(connect=10.0, first_token=None, idle=None, progress=None)


class NativeApi:
    """Sends JSON to the server's own endpoints. Every method raises `ProviderError`: classified, free of secrets."""

    def __init__(
        self, binding: Callable[[], Transport], clock: Clock, secrets: Callable[[], tuple[str, ...]] = tuple
    ) -> None:
        """*binding* returns the transport of the moment, which adds the key; *secrets* no error may quote."""
        self._binding = binding
        self._clock = clock
        self._secrets = secrets

    async def get(self, path: str, *, report: bool = False) -> Any:
        """The JSON that `GET path` answers, within seconds; a *report* may hold an `error` that is not its own."""
        return await self._send(
            HttpCall("GET", path, headers=JSON_HEADERS, idempotent=True), self._soon(), report=report
        )

    async def post(self, path: str, body: Mapping[str, Any] | None = None, *, patient: bool = False) -> Any:
        """The JSON that `POST path` answers; *patient*: however long the server takes, until the caller gives up."""
        call = HttpCall("POST", path, encode_json({} if body is None else body), JSON_HEADERS)
        return await self._send(call, _PATIENT if patient else self._soon())

    def _soon(self) -> PhaseLimits:
        return PhaseLimits(deadline_at=self._clock.monotonic() + _QUICK)

    async def _send(self, call: HttpCall, limits: PhaseLimits, *, report: bool = False) -> Any:
        reply = await self._binding().send(call, limits)
        try:
            body = await reply.read()
        finally:
            reply.close()
        if reply.status >= 300:
            raise http_error(reply.status, reply.headers, body)
        answer = parse_json(body) if body.strip() else {}
        if not report and isinstance(answer, dict) and is_error(answer):
            raise classify(error_of(parse_json(masked(body, self._secrets()))), headers=reply.headers)
        return answer


class OpenAIServerProvider(OpenAIStyleProvider):
    """One such server: a `ModelHost`."""

    product: str
    start_it: str
    """What to do when no server answers."""
    lists_at_least: ClassVar[bool] = False
    """Whether older versions, which lack its own endpoints, are well if they answer at all."""
    manager: ServerModelManager

    def native(self, services: ProviderServices) -> NativeApi:
        """The sender for the server's own endpoints."""
        return NativeApi(self.client_transport, services.clock, lambda: self.confidential(self._first_key()))

    async def start(self) -> None:
        """Take a share in the connection pool. Nothing is sent: the server may be started later."""
        await super().start()
        if not isinstance(self.transport, ServerTransport):
            nobody = f"no {self.product} server at {address_of(self.base_url)}: {self.start_it}, or correct base_url"
            self.transport = ServerTransport(self.transport, nobody, self._first_key, self.confidential)

    async def close(self) -> None:
        """Stop loads and pulls and give the share in the connection pool back."""
        await self.manager.close()
        await super().close()

    async def health_check(self) -> HealthReport:
        """Ask for the models; costs no tokens and loads nothing. Learns their facts by the way."""
        clock = self.services.clock
        begun = clock.monotonic()
        try:
            names, detail = await self.take_stock()
        except ProviderError as error:
            if self.lists_at_least and is_missing_endpoint(error):
                return await super().health_check()
            return HealthReport(healthy=False, detail=error.message)
        where = f"{self.product} at {address_of(self.base_url)}"
        return HealthReport(True, f"{where}: {detail}", clock.monotonic() - begun, names)

    async def resolve_default_model(self) -> str | None:
        """The model for callers that name only this provider.

        `default_model` of the configuration; else a model that can chat and is in memory, one of `models` before
        others; else the first of `models`; else the first that the server has. `None`: it has none.

        Raises:
            ProviderError: nothing is configured and the server cannot be asked.
        """
        default: str | None = self.config.default_model
        configured: tuple[str, ...] = tuple(self.config.models)
        if default:
            return default
        try:
            ready, names = await self.chat_models(configured)
        except ProviderError as error:
            if configured:
                return configured[0]
            raise error.at(self.name, None) from None
        return next(iter([*ready, *configured, *names]), None)

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        """Load *model*; returns at once when it is loaded."""
        try:
            with self.located(model):
                return await self.manager.load(model, progress)
        finally:
            self.forget()

    async def unload_model(self, model: str) -> ModelStatus:
        """Take *model* out of memory; returns once the server says that it has gone."""
        try:
            with self.located(model):
                return await self.manager.unload(model)
        finally:
            self.forget()

    async def model_status(self, model: str) -> ModelStatus:
        """Where *model* is in its life, asked from the server."""
        with self.located(model):
            return await self.manager.status(model)

    @abstractmethod
    async def take_stock(self) -> tuple[tuple[str, ...], str]:
        """Ask for the models: their names, and how many they are, in a few words."""

    @abstractmethod
    async def chat_models(self, configured: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """Ask for the models that can chat: those in memory, *configured* ones first; and all of them."""

    @abstractmethod
    def forget(self) -> None:
        """Believe nothing any more about what is in memory."""


def is_missing_endpoint(error: ProviderError) -> bool:
    """True where the server has no such address, which is what an older version says."""
    return error.status_code in {404, 405, 501} or "unexpected endpoint" in error.message.lower()
