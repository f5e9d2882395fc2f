"""Local models without models: a host that keeps count of what is asked of it, and a keeper on a clock that stands still."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from core.llm.common.events import EventBus, ModelEvent
from core.llm.common.exceptions import ModelLoadError
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import ModelInfo, ModelStatus, Progress, ProgressCallback
from core.llm.providers.base.residency import Placement
from core.llm.providers.config.models.residency import ResidencyOptions
from core.llm.residency.keeper import Keeper
from core.llm.residency.resident import Resident
from core.llm.testing import FakeClock


class FakeHost:
    """Has models of given sizes; loads take `load_seconds` of the clock, unloads `unload_seconds`."""

    def __init__(self, clock: FakeClock, *, owned: bool = True, name: str = "local", **sizes: int) -> None:
        self.clock = clock
        self.name = name
        self.owned = owned
        self.sizes = sizes
        self.device = "cpu"
        self.load_seconds = 1.0
        self.unload_seconds = 0.0
        self.memory: set[str] = set()
        self.loads: Counter[str] = Counter()
        self.unloads: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()
        self.errors: dict[str, list[Exception]] = {}
        """What the next loads of a model raise, in order."""
        self.unload_errors: dict[str, list[Exception]] = {}
        self.steps: list[Progress] = []
        """What each load tells on its way."""
        self.in_use: Callable[[str], bool] = lambda _: False
        self.unloaded_in_use: list[str] = []
        self.peak = 0
        self.peak_bytes = 0
        self.before_ready: Callable[[str], Awaitable[None]] | None = None
        self.options: dict[str, Any] = {}

    def placement(self, model: str) -> Placement:
        identity = ("fake", self.name, model, self.options.get(model))
        return Placement(identity, owned=self.owned, device=self.device, size_bytes=self.sizes[model])

    def in_memory(self, model: str) -> bool:
        return model in self.memory

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        self.loads[model] += 1
        # What is being loaded takes its room from the beginning.
        self.memory.add(model)
        self._measure()
        try:
            for step in self.steps:
                if progress is not None:
                    progress(step)
            await self.clock.sleep(self.load_seconds)
            if self.before_ready is not None:
                await self.before_ready(model)
            if self.errors.get(model):
                raise self.errors[model].pop(0)
        except BaseException as error:
            self.memory.discard(model)
            if isinstance(error, asyncio.CancelledError):
                self.cancelled[model] += 1
            raise
        return ModelStatus(model, "ready", self.sizes[model])

    async def unload_model(self, model: str) -> ModelStatus:
        self.unloads[model] += 1
        if self.in_use(model):
            self.unloaded_in_use.append(model)
        await self.clock.sleep(self.unload_seconds)
        if self.unload_errors.get(model):
            raise self.unload_errors[model].pop(0)
        self.memory.discard(model)
        return ModelStatus(model, "unloaded")

    async def model_status(self, model: str) -> ModelStatus:
        there = model in self.memory
        return ModelStatus(model, "ready" if there else "unloaded", self.sizes[model] if there else None)

    async def list_models(self) -> list[ModelInfo]:
        return [ModelInfo(name, loaded=name in self.memory) for name in self.sizes]

    def _measure(self) -> None:
        self.peak = max(self.peak, len(self.memory))
        self.peak_bytes = max(self.peak_bytes, sum(self.sizes[model] for model in self.memory))


class House:
    """A keeper, a host, and what was told."""

    def __init__(self, *, owned: bool = True, options: dict[str, Any] | None = None, **sizes: int) -> None:
        self.clock = FakeClock()
        self.events = EventBus()
        self.told: list[ModelEvent] = []
        self.events.subscribe(self.told.append, ModelEvent)
        self.host = FakeHost(self.clock, owned=owned, **(sizes or {"a": 10, "b": 10, "c": 10}))
        self.keeper = Keeper(self.clock, self.events, random.Random(7))
        self.options = ResidencyOptions()
        self.configure(**(options or {}))
        self.host.in_use = lambda model: self[model].leases > 0

    def configure(self, **options: Any) -> None:
        """Put these options in force."""
        self.options = ResidencyOptions.model_validate(options)
        self.keeper.configure(self.options, {"local": self.host})

    def __getitem__(self, model: str) -> Resident:
        resident = self.keeper.resident(ModelRef("local", model), self.host, self.options)
        assert resident is not None
        return resident

    async def use(self, model: str) -> None:
        """One short call."""
        await self.keeper.acquire(self[model])
        self.keeper.release(self[model])

    def begin(self, model: str, **options: Any) -> "asyncio.Task[None]":
        """A call that waits for its lease."""
        return asyncio.ensure_future(self.keeper.acquire(self[model], **options))

    async def after(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        await self.clock.advance(seconds)

    async def loaded(self, *models: str) -> None:
        """Have each of *models* loaded and used once, one after the other, a second apart."""
        for model in models:
            task = asyncio.ensure_future(self.use(model))
            await self.after(self.host.load_seconds)
            await self.after(1.0)
            await task

    @property
    def ready(self) -> set[str]:
        """The models that are ready."""
        return {one.ref.model for one in self.keeper.residents if one.phase == "ready"}


def load_error(text: str = "no such file") -> ModelLoadError:
    """What a load fails with."""
    return ModelLoadError(text, model="local/a")
