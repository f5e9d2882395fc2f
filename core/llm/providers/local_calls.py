"""Carries the calls of the OpenAI dialect to the worker processes of local models instead of over a network."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote

from core.llm.common.exceptions import ErrorScope, ProviderError, WorkerCrashed
from core.llm.common.types import Billing, PhaseLimits
from core.llm.common.wire import HttpCall, HttpReply
from core.llm.transport.process import WorkerStream

CHAT = "/chat"
COMPLETE = "/complete"
EMBED = "/embed"
COUNT = "/count"


class Callee(Protocol):
    """A model in a worker process, which is loaded when it is called."""

    async def stream(self, method: str, body: str, limits: PhaseLimits) -> WorkerStream:
        """Start a call whose items are wanted as they come."""

    async def request(self, method: str, body: str, limits: PhaseLimits, *, slot: bool = True) -> Any:
        """Make a call and return its result."""


class LocalTransport:
    """Paths are `/MODEL/METHOD`, the model percent-encoded. Closing it closes nothing: the models are not its own."""

    def __init__(self, model: Callable[[str], Callee]) -> None:
        self._model = model

    async def send(self, call: HttpCall, limits: PhaseLimits) -> HttpReply:
        """Hand *call* to the model that its path names; loads it first where needed.

        Raises:
            ModelLoadError: the model cannot be loaded.
            ProviderError: no such model, its worker crashed, it refused, or a limit passed.
        """
        _, name, method = call.path.split("/")
        model = self._model(unquote(name))
        body = _text(call.body)
        try:
            if call.streaming:
                return StreamedReply(await model.stream(method, body, limits))
            answer = await model.request(method, body, limits, slot=method != COUNT[1:])
        except WorkerCrashed as error:
            raise crash_error(error, "none") from None
        return WholeReply(answer)

    async def close(self) -> None:
        """Nothing of its own is open."""


class StreamedReply:
    """An answer that comes piece by piece."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, stream: WorkerStream) -> None:
        self._stream = stream
        self._billing: Billing = "none"

    async def read(self) -> bytes:
        """The whole answer at once."""
        return b"".join([data async for data in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """Server-sent events, one per token. There is no `[DONE]`: complete is what has a finish reason."""
        try:
            async for item in self._stream:
                if not isinstance(item, str):
                    raise ProviderError("protocol", "a local worker sent something that is no text", code="schema")
                yield item.encode()
        except WorkerCrashed as error:
            raise crash_error(error, self._billing) from None

    def output_seen(self) -> None:
        """Real output has arrived."""
        self._billing = "estimated"
        self._stream.output_seen()

    def expect_end_within(self, seconds: float) -> None:
        """A worker ends what it has finished; there is nothing to wait for."""

    def close(self) -> None:
        """Let the worker stop. Idempotent."""
        self._stream.close()


class WholeReply:
    """An answer that is complete."""

    headers: Mapping[str, str] = {}

    def __init__(self, answer: Any) -> None:
        if not isinstance(answer, dict) or type(answer.get("status")) is not int:
            raise ProviderError("protocol", "a local worker sent something that is no answer", code="schema")
        self.status: int = answer["status"]
        self._body = str(answer.get("body", "")).encode()

    async def read(self) -> bytes:
        """The body."""
        return self._body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in one piece."""
        yield self._body

    def output_seen(self) -> None:
        """Nothing waits any more."""

    def expect_end_within(self, seconds: float) -> None:
        """It has ended."""

    def close(self) -> None:
        """Nothing is open."""


def crash_error(error: WorkerCrashed, billing: Billing) -> ProviderError:
    """What a crash of the worker means to its calls."""
    # Another try of the same call would end the next process in the same way; another candidate need not.
    retryable = error.code != "out_of_memory"
    scope: ErrorScope | None = None if retryable else "model"
    return ProviderError("server_error", str(error), code=error.code, retryable=retryable, scope=scope, billing=billing)


def _text(body: object) -> str:
    return body.decode() if isinstance(body, bytes) else ""
