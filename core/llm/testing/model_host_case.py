"""What the checks of the model host contract share: a host under test, and a whole service over it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pytest

from core.container import Container
from core.llm import EventBus, LLMService, ModelEvent, ModelManager, ProviderModule
from core.llm.common.exceptions import ModelError, ProviderError
from core.llm.residency.residence import Residence
from core.llm.testing.contract_case import require
from core.llm.testing.provider import SCRIPTED

if TYPE_CHECKING:
    from core.llm.providers.base.spec import ProviderSpec

HOST = "host"
"""Name of the provider under test."""
PROMPT = "What is dependency injection?"
REFUSALS = (ModelError, ProviderError)
"""What a host may refuse with."""


class ModelHostBench(ABC):
    """One host under test, and what can be done to it from outside.

    It serves the chat models `a`, `b`, `c` and `broken`, which cannot be loaded before `mend`. At the beginning none
    of them is in memory.
    """

    owned: ClassVar[bool] = False
    """True where the memory is this application's own: a worker process."""
    secret: str | None = None
    """The credential in `entry`, if there is one: it must not come out anywhere."""
    plugins: "Sequence[ProviderSpec]" = ()
    patience: ClassVar[float] = 30.0
    """Seconds within which anything that is on its way must have happened."""
    answer: ClassVar[Mapping[str, Any]] = {"max_tokens": 4}
    """Options of a call that is to be short."""

    @abstractmethod
    def entry(self) -> Mapping[str, Any]:
        """The provider's entry in the configuration."""

    @abstractmethod
    def loads(self) -> Sequence[str]:
        """Models in the order in which they were brought into memory, as the host itself saw it."""

    @abstractmethod
    def in_memory(self) -> set[str]:
        """Models that are in memory, asked from the host and not from the library."""

    @abstractmethod
    def slow(self, seconds: float) -> None:
        """Let every load from now on take that long. One under way may end as soon as this is set to less."""

    @abstractmethod
    def mend(self) -> None:
        """Make `broken` a model like the others."""

    @abstractmethod
    def hold(self, streams: int) -> Callable[[], None]:
        """Let that many next answers, all of `a`, stop after their first piece; returns what lets them go on."""

    @abstractmethod
    async def die(self, model: str) -> None:
        """End what holds *model*, as a crash or an upgrade would; it comes back by itself or when it is needed."""

    def requests(self) -> int:
        """How often the host was asked something over a wire; 0 for a host without one."""
        return 0

    def attempts(self) -> int | None:
        """How often it was asked to load `broken`; `None`: it cannot say."""
        return None


class Hosted:
    """A started service over a host under test. `async with` starts and stops it."""

    def __init__(self, bench: ModelHostBench, residency: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        self.bench = bench
        self.events: list[ModelEvent] = []
        """What was told of models, in order."""
        given = dict(more)
        config = {
            "providers": {HOST: {**bench.entry(), **given.pop(HOST, {})}},
            "models": {"first": f"{HOST}/a"},
            "retry": {"max_retries": 1, "initial_delay": "10ms"},
            "health_check": {"enabled": False},
            "residency": {"reconcile_interval": "100ms", **residency},
            **given,
        }
        plugins = [SCRIPTED, *bench.plugins]
        module = ProviderModule({"llm_service": config}, watch=False, env={}, plugins=plugins)
        self.container = Container([module], start_timeout=120)

    async def __aenter__(self) -> Self:
        self.container.get(EventBus).subscribe(self._heard, ModelEvent)
        await self.container.start()
        self.llm = self.container.get(LLMService)
        self.models = self.container.get(ModelManager)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.container.stop()

    def _heard(self, event: object) -> None:
        if isinstance(event, ModelEvent):
            self.events.append(event)

    async def ask(self, model: str, **options: Any) -> str:
        """A short answer of *model*."""
        return (await self.llm.generate(PROMPT, model=f"{HOST}/{model}", **{**self.bench.answer, **options})).content

    def residence(self, model: str) -> Residence:
        """The line of *model* in the list of models."""
        for one in self.models.list():
            if one.model == f"{HOST}/{model}":
                return one
        raise AssertionError(f"{model!r} is not listed: list_models and the configuration have to agree on names")

    def ready(self) -> set[str]:
        """Models that the library takes to be in memory."""
        there = [one.model for one in self.models.list() if one.state in {"ready", "in_use"}]
        return {name.partition("/")[2] for name in there}

    @asynccontextmanager
    async def stream(self, model: str = "a", **options: Any) -> AsyncIterator[Any]:
        """A stream of *model* that has begun."""
        async with self.llm.stream(PROMPT, model=f"{HOST}/{model}", **options) as stream:
            yield stream

    async def until(self, condition: Callable[[], bool], rule: str) -> None:
        """Return as soon as *condition* holds; fails with *rule* where it does not come true."""
        end = asyncio.get_running_loop().time() + self.bench.patience
        while not condition():
            require(asyncio.get_running_loop().time() < end, rule)
            await asyncio.sleep(0.01)


class ModelHostCase:
    """Fixtures of the contract; see `ModelHostContract`."""

    pytestmark: ClassVar[Any] = pytest.mark.asyncio

    @pytest.fixture
    def bench(self) -> ModelHostBench:
        """The host under test; to be overridden."""
        raise NotImplementedError(f"override the fixture `bench` of {type(self).__name__}: yield a ModelHostBench")

    def serve(self, bench: ModelHostBench, more: Mapping[str, Any] | None = None, **residency: Any) -> Hosted:
        """A service over *bench* with these rules of residency, and *more* sections of the configuration.

        What stands in *more* under the name of the provider goes into its entry.
        """
        return Hosted(bench, residency, more or {})


async def refusal(work: Awaitable[object], what: str) -> Exception:
    """The error that *work* ends with, which has to be one of ours."""
    try:
        await work
    except REFUSALS as error:
        return error
    except Exception as error:
        raise AssertionError(
            f"{what} raised {type(error).__name__}: raise ProviderError or ModelLoadError, or callers cannot tell"
        ) from error
    raise AssertionError(f"{what} succeeded: it has to be refused")
