"""How the provider contract steers what a provider talks to: a server, a process, a script."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.llm.common.messages import ToolCall
from core.llm.common.types import UnifiedFinish, Usage

UpstreamFailure = Literal[
    "unauthorised",
    "rate_limited",
    "model_not_found",
    "invalid_request",
    "server_error",
    "not_an_answer",
    "unreachable",
]
"""How the upstream can refuse.

- `unauthorised`: the credential is wrong, and the error text repeats it, as some vendors do
- `rate_limited`: too many requests; come back in 7 seconds
- `model_not_found`: there is no such model
- `invalid_request`: the request is malformed
- `server_error`: the server has failed
- `not_an_answer`: a success by its status, but the body is a web page (or whatever is no answer here)
- `unreachable`: nobody listens
"""

RETRY_AFTER = 7.0
"""Seconds that a `rate_limited` upstream asks for."""


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """One answer as the upstream is to give it, in its own wire format."""

    pieces: tuple[str, ...] = ("Hello",)
    """The text; a stream sends it piece by piece, otherwise it is joined."""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """Where `raw_arguments` is set, it is what is sent, valid or not."""
    usage: Usage | None = None
    """`None`: the upstream says nothing about tokens."""
    finish: UnifiedFinish = "stop"
    hold_after: int | None = None
    """After so many pieces nothing more is sent, and the connection stays open until `release` or until it is cut."""
    cut_after: int | None = None
    """After so many pieces the connection ends without the end of the answer."""

    @property
    def text(self) -> str:
        """All pieces."""
        return "".join(self.pieces)


class ContractUpstream(ABC):
    """What a plugin author writes once so that `ProviderContract` can test the provider.

    Requests are answered in order of arrival from a queue that `answer`, `answer_vectors` and `fail` fill.
    """

    @property
    @abstractmethod
    def received(self) -> Sequence[Any]:
        """The body of every request for an answer or for vectors, decoded: dictionaries and lists, oldest first."""

    @property
    @abstractmethod
    def open_calls(self) -> int:
        """How many requests it is serving now. A call that the provider has cut is not served any more."""

    @abstractmethod
    def answer(self, answer: UpstreamAnswer) -> None:
        """Queue *answer*."""

    @abstractmethod
    def fail(self, failure: UpstreamFailure, *, secret: str) -> None:
        """Queue a refusal; *secret* is the credential that `unauthorised` repeats in its error text.

        `unreachable` holds from now on, for everything.
        """

    @abstractmethod
    def release(self) -> None:
        """Let answers that are held go on to their end."""

    def answer_vectors(self, vectors: Sequence[Sequence[float]]) -> None:
        """Queue *vectors* for an embedding request; where the wire format numbers them, send them out of order."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot answer embedding requests: write answer_vectors, or add 'embeddings' to "
            "`lacks` of the contract"
        )
