"""A transport that signs every call with an access token, and once more with a fresh one where it is refused."""

from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall, HttpReply, Transport
from core.llm.transport.access_token import AccessToken, AccessTokens
from core.llm.transport.masked_reply import MaskedReply


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
        return reply if reply.status < 300 else MaskedReply(reply, (token.value,))

    async def close(self) -> None:
        """Nothing of its own to close."""

    def _signed(self, call: HttpCall, token: AccessToken) -> HttpCall:
        headers = {**call.headers, "authorization": f"Bearer {token.value}"}
        project = self._quota_project or token.quota_project
        if project:
            headers["x-goog-user-project"] = project
        return HttpCall(call.method, call.path, call.body, headers, call.streaming, call.idempotent)
