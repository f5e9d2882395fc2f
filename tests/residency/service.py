"""A whole service over local models, for tests."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Self

from core.container import Container
from core.llm import EventBus, LLMService, ModelEvent, ModelManager, ProviderConfigManager, ProviderModule, ProviderSpec


class Served:
    """A started container and what is asked of it."""

    def __init__(
        self, config: Any, *, watch: bool = False, plugins: Iterable[ProviderSpec] = (), **fields: Any
    ) -> None:
        self.container = Container([ProviderModule(config, watch=watch, env={}, plugins=plugins, **fields)])
        self.told: list[ModelEvent] = []

    async def __aenter__(self) -> Self:
        bus = self.container.get(EventBus)
        bus.subscribe(self.told.append, ModelEvent)
        await self.container.start()
        self.llm = self.container.get(LLMService)
        self.models = self.container.get(ModelManager)
        self.manager = self.container.get(ProviderConfigManager)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.container.stop()

    def ready(self) -> set[str]:
        """The models that are in memory."""
        return {one.model for one in self.models.list() if one.state in {"ready", "in_use"}}

    def leases(self) -> int:
        """Calls that hold a model."""
        return sum(one.leases for one in self.models.list())

    def loads(self, model: str | None = None) -> int:
        """How often models were loaded, as their workers tell."""
        return sum(
            event.kind == "load" and event.state == "ready" and model in {None, event.model} for event in self.told
        )


async def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return once *condition* holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def until(ask: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Return once *ask* says so."""
    async with asyncio.timeout(seconds):
        while not await ask():
            await asyncio.sleep(0.01)


def llama(*models: str, **residency: Any) -> dict[str, Any]:
    """A configuration of copies of the embedded model, each a process of its own, and an alias for the first."""
    entries: Mapping[str, Any] = {
        name: {"path": "embedded", "n_ctx": 512 + 64 * index, "n_parallel": 8} for index, name in enumerate(models)
    }
    return {
        "providers": {"local": {"type": "llama_cpp", "models": entries}},
        "models": {"fast": {"use": f"local/{models[0]}", "fallback": []}},
        "residency": residency,
    }
