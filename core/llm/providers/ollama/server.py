"""The transport to an Ollama server: adds the key where one is configured, and says what a refused connection means."""

from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall, HttpReply, Transport

_UNREACHABLE: Final = frozenset({"connect", "dns", "connect_timeout"})


class OllamaTransport:
    """Another transport, which it does not own: closing this one leaves the pool alone."""

    def __init__(self, inner: Transport, base_url: str, key: SecretStr | None) -> None:
        self._inner = inner
        self._where = address_of(base_url)
        self._key = key

    async def send(self, call: HttpCall, limits: PhaseLimits) -> HttpReply:
        """Send *call*; see `core.llm.common.wire.Transport`."""
        if self._key is not None and "authorization" not in call.headers:
            call = with_key(call, self._key.get_secret_value())
        try:
            return await self._inner.send(call, limits)
        except ProviderError as error:
            if error.code in _UNREACHABLE:
                error.message = (
                    f"no Ollama server at {self._where}: start it with `ollama serve`, or correct base_url "
                    f"({error.message})"
                )
                error.args = (error.message,)
            raise

    async def close(self) -> None:
        """Nothing: the pool belongs to whoever lent it."""


def with_key(call: HttpCall, key: str) -> HttpCall:
    """*call* with *key* as bearer token."""
    return replace(call, headers={**call.headers, "authorization": f"Bearer {key}"})


def address_of(base_url: str) -> str:
    """*base_url* without name and password."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
