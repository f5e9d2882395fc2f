"""A transport without a network: hands out prepared answers and keeps what was sent."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from pydantic_core import from_json, to_json

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall


class FakeReply:
    """One prepared answer; a `ProviderError` among the pieces is raised when its turn comes."""

    def __init__(self, status: int, headers: Mapping[str, str], pieces: tuple[bytes | ProviderError, ...]) -> None:
        self.status = status
        self.headers = headers
        self.pieces = pieces
        self.closed = False
        self.output_at: int | None = None
        self.taken = 0
        self.end_within: float | None = None

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, ProviderError):
                raise piece
            self.taken += 1
            yield piece

    def output_seen(self) -> None:
        if self.output_at is None:
            self.output_at = self.taken

    def expect_end_within(self, seconds: float) -> None:
        self.end_within = seconds

    def close(self) -> None:
        self.closed = True


class FakeTransport:
    """Answers in order."""

    def __init__(self) -> None:
        self.calls: list[HttpCall] = []
        self.replies: list[FakeReply] = []
        self._waiting: list[FakeReply] = []

    def will_answer(
        self, *pieces: bytes | ProviderError | Mapping[str, Any], status: int = 200, **headers: str
    ) -> FakeReply:
        """Queue an answer; mappings are sent as JSON."""
        data = tuple(piece if isinstance(piece, bytes | ProviderError) else to_json(piece) for piece in pieces)
        reply = FakeReply(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)
        self._waiting.append(reply)
        return reply

    def bodies(self) -> list[Any]:
        """What was sent, decoded."""
        return [from_json(call.body) for call in self.calls if isinstance(call.body, bytes)]

    async def send(self, call: HttpCall, limits: PhaseLimits) -> FakeReply:
        self.calls.append(call)
        reply = self._waiting.pop(0)
        self.replies.append(reply)
        return reply

    async def close(self) -> None:
        """Nothing to close."""
