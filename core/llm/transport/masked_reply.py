"""A refusal without what was sent in confidence, in case it quotes what it refuses."""

from collections.abc import AsyncIterator, Mapping

from core.llm.common.secrets import MASK
from core.llm.common.wire import HttpReply


class MaskedReply:
    """Another reply, whose body says the mask in the place of every secret."""

    def __init__(self, inner: HttpReply, secrets: tuple[str, ...]) -> None:
        self.status: int = inner.status
        self.headers: Mapping[str, str] = inner.headers
        self._inner = inner
        self._secrets = secrets

    async def read(self) -> bytes:
        """The whole body."""
        return masked(await self._inner.read(), self._secrets)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes: of a refusal nobody reads pieces."""
        return self._inner.chunks()

    def output_seen(self) -> None:
        """See `core.llm.common.wire.HttpReply`."""
        self._inner.output_seen()

    def expect_end_within(self, seconds: float) -> None:
        """See `core.llm.common.wire.HttpReply`."""
        self._inner.expect_end_within(seconds)

    def close(self) -> None:
        """Give the connection back."""
        self._inner.close()


def masked(body: bytes, secrets: tuple[str, ...]) -> bytes:
    """*body* without any of *secrets*.

    Before anything reads it: a log line may show the local variables of every frame, and masking what merely looks
    like a key could leave the rest of it standing.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        body = body.replace(secret.encode(), MASK.encode())
    return body
