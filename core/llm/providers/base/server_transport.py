"""The way to a server of one's own: its key, what it means when nobody answers, and refusals that quote no secret."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall, HttpReply, Transport
from core.llm.transport.masked_reply import MaskedReply

_UNREACHABLE: Final = frozenset({"connect", "dns", "connect_timeout"})


class ServerTransport:
    """Another transport, which it does not own: closing this one leaves the pool alone."""

    def __init__(
        self,
        inner: Transport,
        nobody: str,
        key: Callable[[], str | None],
        confidential: Callable[[str | None], tuple[str, ...]],
    ) -> None:
        """*nobody* says what to do where nobody answers; *key* is the bearer token of calls that have no other."""
        self._inner = inner
        self._nobody = nobody
        self._key = key
        self._confidential = confidential

    async def send(self, call: HttpCall, limits: PhaseLimits) -> HttpReply:
        """Send *call*; see `core.llm.common.wire.Transport`."""
        key = None
        if "authorization" not in call.headers and (key := self._key()):
            call = with_key(call, key)
        try:
            reply = await self._inner.send(call, limits)
        except ProviderError as error:
            if error.code in _UNREACHABLE:
                error.message = f"{self._nobody} ({error.message})"
                error.args = (error.message,)
            raise
        return reply if reply.status < 300 else MaskedReply(reply, self._confidential(key))

    async def close(self) -> None:
        """Nothing: the pool belongs to whoever lent it."""


def with_key(call: HttpCall, key: str) -> HttpCall:
    """*call* with *key* as bearer token."""
    return replace(call, headers={**call.headers, "authorization": f"Bearer {key}"})


def address_of(base_url: str) -> str:
    """*base_url* without name and password."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
