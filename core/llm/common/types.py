"""Small frozen values that the whole layer talks about: models, tokens, money, reasons, capabilities."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    # A default needs Python 3.13 elsewhere. `LLMResponse` alone is an answer whose object may be anything.
    from typing_extensions import TypeVar

    ObjectT = TypeVar("ObjectT", default=Any)
else:
    from typing import TypeVar

    ObjectT = TypeVar("ObjectT")

Role = Literal["system", "user", "assistant", "tool"]

ThinkingLevel = Literal["off", "minimal", "low", "medium", "high", "max"]

Capability = Literal[
    "chat",
    "stream",
    "tools",
    "parallel_tools",
    "json",
    "json_schema",
    "vision",
    "documents",
    "audio",
    "thinking",
    "embeddings",
]

UnifiedFinish = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "other"]

SwapMode = Literal["auto", "overlap", "replace"]

Billing = Literal["none", "settled", "estimated", "ambiguous"]
"""What an attempt cost: proven nothing, what the provider reported, our estimate, or unknown (sent, no answer)."""


class ModelRef(NamedTuple):
    """One model at one configured provider, written `provider/model`."""

    provider: str
    model: str

    def __str__(self) -> str:
        # Without a model it is the provider's default, which the configuration writes as the provider alone.
        return f"{self.provider}/{self.model}" if self.model else self.provider


@dataclass(frozen=True, slots=True)
class FinishReason:
    """Why the model stopped: our word, and the provider's own."""

    unified: UnifiedFinish
    raw: str | None = None

    def __str__(self) -> str:
        return self.unified


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call in disjoint buckets: each token is counted in exactly one of them."""

    input: int = 0
    """Prompt tokens that were neither read from nor written to a prompt cache."""
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    """Generated tokens without the reasoning ones."""
    reasoning: int = 0
    estimated: bool = False
    """True where the provider did not say and the numbers are our own estimate."""
    raw: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """The provider's own usage object, unchanged."""

    @property
    def total(self) -> int:
        """All tokens of the call."""
        return self.input + self.cache_read + self.cache_write + self.output + self.reasoning

    @property
    def input_total(self) -> int:
        """Everything on the prompt side, cached or not."""
        return self.input + self.cache_read + self.cache_write

    @property
    def output_total(self) -> int:
        """Everything on the answer side, reasoning included."""
        return self.output + self.reasoning

    def __add__(self, later: "Usage") -> "Usage":
        """Both together, with the provider's own object of the *later* one."""
        return Usage(
            self.input + later.input,
            self.cache_read + later.cache_read,
            self.cache_write + later.cache_write,
            self.output + later.output,
            self.reasoning + later.reasoning,
            self.estimated or later.estimated,
            later.raw,
        )


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars (or the configured currency) per million tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    source: str = "config"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost, exactly, and where the price came from."""

    amount: Decimal
    currency: str = "USD"
    source: str = "config"
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class CallWarning:
    """Something the request asked for that could not be honoured as asked."""

    code: Literal["dropped", "renamed", "clamped", "emulated", "deprecated", "suspect_usage", "other"]
    message: str
    parameter: str | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known about a model: packaged data, live discovery and the YAML, merged in that order.

    An empty `capabilities` means unknown: nothing is refused on its account.
    """

    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[Capability] = frozenset()
    price: Price | None = None
    quirks: Mapping[str, Any] = field(default_factory=dict)
    """Wire details of this model as data, such as `token_cap: max_completion_tokens`."""

    def ending(self, model: str) -> str | None:
        """What to say about the day on which *model* is shut down; `None` where none is known."""
        day = self.quirks.get("shut_down")
        if day is None:
            return None
        return f"{model} is shut down on {day}: move to {self.quirks.get('replaced_by', 'another model')} before"

    def lacks(self, capability: Capability) -> bool:
        """True where the model is known not to have *capability*."""
        return bool(self.capabilities) and capability not in self.capabilities


@dataclass(frozen=True, slots=True)
class PartialOutput:
    """What had been delivered when a stream broke."""

    text: str = ""
    thinking: str = ""
    tool_calls: tuple[Any, ...] = ()
    usage: Usage | None = None
    refusal: str = ""
    unfinished_calls: str = ""
    """Names and arguments of tool calls that were never complete, run together: they are paid for and never run."""


@dataclass(slots=True)
class PhaseLimits:
    """How long each phase of one attempt may take, in seconds; `None` is no limit of its own."""

    connect: float | None = 10.0
    first_token: float | None = 60.0
    """From sending the request to the first output of a stream."""
    idle: float | None = 30.0
    """Between two network reads once the answer has begun."""
    progress: float | None = 60.0
    """Between two pieces of output; pings and comments do not count as output."""
    deadline_at: float = float("inf")
    """Monotonic moment at which the attempt ends whatever happens."""
    min_rate: float | None = None
    """Tokens per second, estimated, that a stream must bring once it has begun."""
    rate_window: float = 10.0
    """Stretch of waiting over which `min_rate` is looked at."""
