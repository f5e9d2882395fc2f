"""What a strategy sees: each candidate as it is at this moment, and the request. Nothing of it changes any more."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from core.llm.common.types import Capability, ModelFacts, ModelRef, Price
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.arms import Arm


class Candidate(NamedTuple):
    """One model at one provider, frozen; what nobody knows is `None`."""

    ref: ModelRef
    weight: float = 1.0
    in_flight: int = 0
    """Calls that are there now, waiting for their turn included."""
    latency: float | None = None
    """Seconds that a whole answer takes, as a moving average; shrinks while the model is not used."""
    first_token: float | None = None
    """Seconds until the first output of a stream, likewise."""
    error_rate: float = 0.0
    """Share of the recent attempts that failed there, from 0 to 1; forgotten with time."""
    headroom: float = 1.0
    """What is left of the provider's limits, from 0 to 1; 1 where there are none."""
    price: Price | None = None
    context_window: int | None = None
    capabilities: frozenset[Capability] = frozenset()
    """Empty means unknown."""
    loaded: bool | None = None
    """Whether the model is in memory; `None` where that is somebody else's business, as with hosted models."""
    rests: bool = False
    """Nothing would be sent there now: its provider is off, is left alone, or has asked to wait."""


class RequestView:
    """The request that is being routed."""

    __slots__ = ("mode", "request", "turn")

    def __init__(self, request: LLMRequest, mode: str = "generate", turn: int = 0) -> None:
        self.request = request
        self.mode = mode
        """`generate`, `stream` or `embed`."""
        self.turn = turn
        """How many calls the alias has routed before this one."""

    @property
    def user(self) -> str | None:
        """The `user` of the request."""
        return self.request.user

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The caller's own data."""
        return self.request.metadata

    @property
    def text(self) -> str:
        """All text of the messages, in order."""
        return "\n".join(message.text for message in self.request.messages)

    @property
    def tokens(self) -> int:
        """Prompt tokens, by the length of the text: quick and rough."""
        return sum(len(message.text) for message in self.request.messages) // 4


class Sight(Protocol):
    """Where a router gets its snapshots from."""

    def candidate(self, ref: ModelRef, weight: float) -> Candidate:
        """*ref* as it is now."""

    def facts(self, ref: ModelRef) -> ModelFacts | None:
        """What is known about the model; `None` where its provider is off."""

    def arms(self, alias: str) -> Mapping[ModelRef, Arm]:
        """How the models of *alias* have done."""


class Unseen:
    """Sees names only."""

    __slots__ = ()

    def candidate(self, ref: ModelRef, weight: float) -> Candidate:
        """*ref* with nothing known about it."""
        return Candidate(ref, weight)

    def facts(self, ref: ModelRef) -> ModelFacts | None:  # noqa: ARG002 - the signature is the protocol's
        """Nothing."""
        return ModelFacts()

    def arms(self, alias: str) -> Mapping[ModelRef, Arm]:  # noqa: ARG002 - the signature is the protocol's
        """Nothing."""
        return {}
