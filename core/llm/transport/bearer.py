"""A transport that signs every call with an access token, and once more with a fresh one where it is refused."""

from collections.abc import AsyncIterator, Mapping

from core.llm.common.secrets import MASK
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall, HttpReply, Transport
from core.llm.transport.access_token import AccessToken, AccessTokens


class BearerTransport:
    """Wraps a transport; closing it leaves the wrapped one and the tokens to those who opened them."""

    def __init__(self, inner: Transport, tokens: AccessTokens, quota_project: str | None = None) -> None:
        self._inner = inner
        self._tokens = tokens
        self._quota_project = quota_project

    async def send(self, call: HttpCall, limits: PhaseLimits) -> HttpReply:
        """Send *call* with a token. A 401 means that the token was revoked: then once more with a new one."""
        token = await self._tokens.token()
        reply = await self._inner.send(self._signed(call, token), limits)
        if reply.status == 401 and not hasattr(call.body, "__aiter__"):
            reply.close()
            token = await self._tokens.renew(token)
            reply = await self._inner.send(self._signed(call, token), limits)
        return reply if reply.status < 300 else _MaskedReply(reply, token)

    async def close(self) -> None:
        """Nothing of its own to close."""

    def _signed(self, call: HttpCall, token: AccessToken) -> HttpCall:
        headers = {**call.headers, "authorization": f"Bearer {token.value}"}
        project = self._quota_project or token.quota_project
        if project:
            headers["x-goog-user-project"] = project
        return HttpCall(call.method, call.path, call.body, headers, call.streaming, call.idempotent)


class _MaskedReply:
    """An error answer without the token, in case it quotes what it refuses."""

    def __init__(self, inner: HttpReply, token: AccessToken) -> None:
        self.status: int = inner.status
        self.headers: Mapping[str, str] = inner.headers
        self._inner = inner
        self._token = token

    async def read(self) -> bytes:
        return (await self._inner.read()).replace(self._token.value.encode(), MASK.encode())

    def chunks(self) -> AsyncIterator[bytes]:
        return self._inner.chunks()

    def output_seen(self) -> None:
        self._inner.output_seen()

    def expect_end_within(self, seconds: float) -> None:
        self._inner.expect_end_within(seconds)

    def close(self) -> None:
        self._inner.close()
