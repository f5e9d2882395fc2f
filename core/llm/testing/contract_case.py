"""What all checks of the provider contract share: the fixtures, the requests, and how a rule is stated."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, TypeVar, get_args

import pytest

from core.llm.common.types import CallWarning, ModelFacts, PhaseLimits
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.base.response import StreamEvent
from core.llm.testing.canary import SecretCanary
from core.llm.testing.contract_upstream import ContractUpstream, UpstreamFailure

Ability = Literal[
    "api_key",
    "broken_arguments",
    "embeddings",
    "json_schema",
    "parallel_tools",
    "pausing",
    "thinking",
    "tools",
    "usage",
    "cutting",
]
"""What a provider, or its upstream under test, may lack.

- `api_key`: calls carry a credential
- `broken_arguments`: tool arguments travel as text, so that a model can write them wrong
- `embeddings`, `json_schema`, `parallel_tools`, `thinking`, `tools`: as a provider
- `usage`: the upstream reports tokens
- `pausing`, `cutting`: the upstream under test can hold an answer, or break it off
"""

UsageBucket = Literal["input", "cache_read", "cache_write", "output", "reasoning"]

_Check = TypeVar("_Check", bound=Callable[..., Any])

PROMPT = "What is dependency injection?"


def needs(*abilities: Ability | UpstreamFailure) -> Callable[[_Check], _Check]:
    """Mark a check that is left out where one of *abilities* is lacking."""

    def mark(check: _Check) -> _Check:
        check.__dict__["needs"] = frozenset(abilities)
        return check

    return mark


def require(condition: object, rule: str) -> None:
    """Fail with *rule*, which says what is wrong and what to do, unless *condition* holds.

    Raises:
        AssertionError: the provider breaks the rule.
    """
    if not condition:
        raise AssertionError(rule)


async def eventually(condition: Callable[[], bool], rule: str, *, timeout: float = 30.0) -> None:
    """Return as soon as *condition* holds.

    Raises:
        AssertionError: it did not hold within *timeout* seconds.
    """
    end = asyncio.get_running_loop().time() + timeout
    while not condition():
        require(asyncio.get_running_loop().time() < end, rule)
        await asyncio.sleep(0.005)


class ContractCase:
    """Fixtures and settings of the contract; a subclass of `ProviderContract` sets and overrides them."""

    pytestmark: ClassVar[Any] = pytest.mark.asyncio

    model: ClassVar[str] = "contract-model"
    """The model to ask for."""
    lacks: ClassVar[frozenset[Ability | UpstreamFailure]] = frozenset()
    """What the provider cannot do or its upstream cannot play; the checks that need it are left out."""
    usage_buckets: ClassVar[frozenset[UsageBucket]] = frozenset({"input", "cache_read", "output", "reasoning"})
    """The buckets its wire format can express."""
    prompt_deadline: ClassVar[float] = 5.0
    """Seconds within which the upstream must see that a call was cut."""
    patience: ClassVar[float] = 30.0
    """Seconds to wait for output that is on its way; raise it for a provider that is slow to begin."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Leave out the checks that need what is lacking."""
        super().__init_subclass__(**options)
        unknown = cls.lacks - set(get_args(Ability)) - set(get_args(UpstreamFailure))
        if unknown:
            raise TypeError(
                f"{cls.__name__}.lacks names unknown abilities: {', '.join(sorted(unknown))}; known are "
                f"{', '.join(sorted((*get_args(Ability), *get_args(UpstreamFailure))))}"
            )
        for name in dir(cls):
            check = getattr(cls, name)
            if name.startswith("test_") and getattr(check, "needs", frozenset()) & cls.lacks:
                # Pytest collects callables only: a check that does not apply is absent, not skipped.
                setattr(cls, name, None)

    @pytest.fixture
    def upstream(self) -> ContractUpstream:
        """What the provider talks to; to be overridden."""
        raise NotImplementedError(
            f"override the fixture `upstream` of {type(self).__name__}: return a ContractUpstream that plays the server"
        )

    @pytest.fixture
    def provider(self, upstream: ContractUpstream) -> BaseLLMProvider:
        """The provider under test, started, talking to *upstream*; to be overridden. The fixture closes it."""
        raise NotImplementedError(
            f"override the fixture `provider` of {type(self).__name__}: build the provider against the fixture "
            "`upstream`, await start(), yield it, await close()"
        )

    @pytest.fixture
    def canary(self) -> Iterator[SecretCanary]:
        """The credential of every call; a leak fails the check."""
        canary = SecretCanary("sk-contract")
        yield canary
        canary.check()

    def chat(
        self, canary: SecretCanary | None = None, text: str = PROMPT, *, stream: bool = False, **params: Any
    ) -> ChatRequest:
        """A request as the pipeline hands it to a provider."""
        asked = LLMRequest(**{"messages": text, **params})
        return ChatRequest(
            provider="contract",
            model=self.model,
            params=asked,
            messages=asked.messages,
            facts=ModelFacts(),
            limits=PhaseLimits(connect=60.0, first_token=60.0, idle=60.0, progress=60.0),
            api_key=None if canary is None or "api_key" in self.lacks else canary.secret,
            stream=stream,
        )

    def embedding(self, canary: SecretCanary, *texts: str) -> EmbeddingRequest:
        """An embedding request as the pipeline hands it to a provider."""
        key = None if "api_key" in self.lacks else canary.secret
        return EmbeddingRequest("contract", self.model, texts, PhaseLimits(connect=60.0), api_key=key)


async def collect(provider: BaseLLMProvider, request: ChatRequest) -> list[StreamEvent]:
    """All events of one stream."""
    return [event async for event in provider.stream_generate(request)]


def text_of(events: list[StreamEvent]) -> str:
    """The text of a stream."""
    return "".join(event.text for event in events)


def shapes(events: list[StreamEvent]) -> str:
    """The kinds of events of a stream, for messages."""
    return " ".join(type(event).__name__ for event in events) or "nothing"


def holds_value(body: Any, wanted: object) -> bool:
    """True where *wanted* stands somewhere in a decoded body, as a value."""
    if isinstance(body, dict):
        return any(holds_value(value, wanted) for value in body.values())
    if isinstance(body, list | tuple):
        return any(holds_value(value, wanted) for value in body)
    return type(body) is type(wanted) and body == wanted


def keys_of(body: Any) -> set[str]:
    """Every key that occurs somewhere in a decoded body."""
    if isinstance(body, dict):
        return {str(key) for key in body} | {key for value in body.values() for key in keys_of(value)}
    if isinstance(body, list | tuple):
        return {key for value in body for key in keys_of(value)}
    return set()


def warned_about(warnings: list[CallWarning], parameter: str) -> bool:
    """True where one of *warnings* names *parameter*."""
    return any(warning.parameter is not None and parameter in warning.parameter for warning in warnings)
