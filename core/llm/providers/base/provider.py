"""The contract of a provider: four methods, and small optional protocols for what only some can do.

A provider translates and sends. It never retries, waits, falls back or counts: the pipeline does.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Protocol, runtime_checkable

from core.llm.common.clock import Clock, SystemClock
from core.llm.common.events import EventBus
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts
from core.llm.providers.base.load_gate import LoadGate
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse, StreamEvent


class ResourceLease(Protocol):
    """A share in something expensive that outlives one configuration."""

    resource: Any

    async def release(self) -> None:
        """Give the share back; the last one closes the resource. Idempotent."""


class Resources(Protocol):
    """Expensive things by key: connection pools, worker processes. What did not change survives a reload."""

    def acquire(self, key: Hashable, create: Callable[[], Any]) -> ResourceLease:
        """The resource of *key*, made by *create* when there is none. It must have `async close()`."""


@dataclass(frozen=True, slots=True)
class ProviderServices:
    """What the runtime lends to a provider."""

    name: str
    """The configured name of this provider."""
    resources: Resources
    clock: Clock = field(default_factory=SystemClock)
    events: EventBus = field(default_factory=EventBus)
    rng: random.Random = field(default_factory=random.Random)
    load_gate: LoadGate | None = None
    """Asked before each load of a model in a process of our own."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Result of a health check that costs no tokens."""

    healthy: bool
    detail: str = ""
    latency: float | None = None
    models: tuple[str, ...] | None = None
    """Models the provider says it has, where the check learnt that."""
    probed: bool = True
    """False where nothing was asked, so that the report says nothing about whether calls would be answered."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model a provider offers."""

    name: str
    facts: ModelFacts = field(default_factory=ModelFacts)
    loaded: bool | None = None
    """Whether it is in memory; `None` where that question makes no sense."""
    size_bytes: int | None = None
    detail: str = ""


ModelState = Literal["unloaded", "loading", "ready", "in_use", "draining", "unloading", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Where a local model is in its life."""

    model: str
    state: ModelState
    memory_bytes: int | None = None
    detail: str = ""
    pid: int | None = None
    load_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull or load is; `completed` and `total` share a unit (bytes for pulls)."""

    message: str
    completed: float | None = None
    total: float | None = None


ProgressCallback = Callable[[Progress], None]

UNKNOWN_FACTS: Final = ModelFacts()
"""One object for all: facts that stay the same object need not be merged with the YAML again."""


class BaseLLMProvider(ABC):
    """One configured provider.

    The constructor does no I/O. It is called as `Class(config, services)`. `start` may open what it needs;
    `close` gives everything back and is called exactly once, after the last call on this object has ended.
    """

    fixed_slots: ClassVar[bool] = False
    """True where calls share slots of our own, as in a local model: how many fit is known, and not to be found out."""

    def __init__(self, config: Any, services: ProviderServices) -> None:
        self.config = config
        self.services = services
        self.name = services.name

    @contextmanager
    def located(self, model: str | None = None) -> Iterator[None]:
        """A `ProviderError` that is raised in here says where: at this provider, and *model* where it is about one."""
        try:
            yield
        except ProviderError as error:
            raise error.at(self.name, model) from None

    async def start(self) -> None:
        """Open what the provider needs; raises to refuse the configuration. Must be quick: no model is loaded here."""

    @abstractmethod
    async def generate(self, request: ChatRequest) -> LLMResponse:
        """The complete answer.

        Raises:
            ProviderError: classified; an answer that is empty, cut or an error page is an error, never a response.
        """

    @abstractmethod
    def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """The answer as events, ending with exactly one `StreamFinish`. Closing the iterator cuts the connection.

        Raises:
            ProviderError: also in the middle; a stream that ends early raises, it never just stops.
        """

    def check(self, request: ChatRequest) -> None:
        """Refuse *request* as `generate` would before it sends anything; does nothing where that is not known before.

        Raises:
            UnsupportedFeature: the model cannot take it, or not without losing a parameter that must not be lost.
        """

    async def health_check(self) -> HealthReport:
        """Whether the provider can be reached, without spending tokens. Never raises `ProviderError`."""
        return HealthReport(healthy=True, detail="no health check of its own", probed=False)

    def facts(self, model: str) -> ModelFacts:  # noqa: ARG002 - for subclasses
        """What is known about *model* from packaged data or discovery; the YAML is merged over it by the caller."""
        return UNKNOWN_FACTS

    async def resolve_default_model(self) -> str | None:
        """The model to use where a chain names this provider only and the YAML names none; `None`: there is none.

        Raises:
            ProviderError: the provider had to be asked and cannot be reached.
        """
        return None

    async def close(self) -> None:
        """Give back what `start` and later calls took."""


@runtime_checkable
class Embedder(Protocol):
    """A provider that can turn texts into vectors."""

    def embed(self, request: EmbeddingRequest) -> Awaitable[EmbeddingResponse]:
        """One vector per input, in order."""


@runtime_checkable
class ModelLister(Protocol):
    """A provider that can list its models."""

    def list_models(self) -> Awaitable[Sequence[ModelInfo]]:
        """The models it offers now."""


@runtime_checkable
class ModelHost(ModelLister, Protocol):
    """A provider whose models are loaded into and out of memory."""

    def load_model(self, model: str, progress: ProgressCallback | None = None) -> Awaitable[ModelStatus]:
        """Load *model*; returns at once when it is loaded."""

    def unload_model(self, model: str) -> Awaitable[ModelStatus]:
        """Take *model* out of memory and return once it has gone."""

    def model_status(self, model: str) -> Awaitable[ModelStatus]:
        """Where *model* is in its life."""


@runtime_checkable
class ModelPuller(Protocol):
    """A provider that can download models."""

    def pull_model(self, model: str, progress: ProgressCallback | None = None) -> Awaitable[ModelInfo]:
        """Download *model*; cancelling stops the download and keeps what can be resumed."""


PullStrategy = Literal["always", "when_missing", "never"]
"""Download a model that is there already as well (a newer version), only one that is missing, or none."""


@runtime_checkable
class PullRules(Protocol):
    """A provider whose configuration says when a model is downloaded."""

    def pull_strategy(self, model: str) -> PullStrategy | None:
        """What is configured for *model*; `None`: nothing."""


@runtime_checkable
class TokenCounter(Protocol):
    """A provider that can count the tokens of a request."""

    def count_tokens(self, request: ChatRequest) -> Awaitable[int]:
        """Prompt tokens of *request*, as the provider will count them."""
