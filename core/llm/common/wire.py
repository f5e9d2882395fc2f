"""What dialects produce and transports carry: bytes with an address, understood by neither side's neighbour."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from core.llm.common.types import PhaseLimits


@dataclass(slots=True)
class HttpCall:
    """One HTTP request, relative to the provider's base URL. Not changed once it is made; use `replace`."""

    method: str
    path: str
    """Begins with `/`; model names in it are percent-encoded by whoever built it."""
    body: bytes | AsyncIterable[bytes] | None = None
    """Bytes, or pieces that are sent as they come (a file of any size); pieces cannot be sent a second time."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of this request on top of the transport's own; may hold secrets, hence not in `repr`."""
    streaming: bool = False
    idempotent: bool = False
    """True where sending it twice does no harm (GET and the like)."""


class HttpReply(Protocol):
    """The head of an answer whose body is still on the wire. Whoever opened it must `close()` it."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""

    async def read(self) -> bytes:
        """The whole body, decompressed, within the size limit of its status."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece as it arrives; ends at the end of the body."""

    def output_seen(self) -> None:
        """Tell the phase timers that real output has arrived (not just bytes)."""

    def expect_end_within(self, seconds: float) -> None:
        """Tell the phase timers that the answer is whole and only its end is missing: wait no longer than *seconds*.

        Afterwards `chunks` ends or raises `timeout` within that much waiting, whatever other limits say.
        """

    def close(self) -> None:
        """Give the connection back, or cut it when the body was not read to its end. Idempotent."""


class Transport(Protocol):
    """Carries HTTP calls to one origin over its own connection pool."""

    async def send(self, call: HttpCall, limits: PhaseLimits) -> HttpReply:
        """Send *call* and return once the head of the answer is here.

        Raises:
            ProviderError: `network_error`, `timeout` or `protocol`; `billing` says whether it may have been charged.
        """

    async def close(self) -> None:
        """Cut whatever is still open and close the pool. Idempotent."""
