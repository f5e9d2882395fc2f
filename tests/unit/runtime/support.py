"""Configurations, factories and runtimes for the tests of the runtime."""

import asyncio
import math
import random
from typing import Any

from core.llm.common.clock import Deadline, SystemClock
from core.llm.common.events import EventBus
from core.llm.common.types import ModelFacts
from core.llm.factory.provider import LLMProviderFactory
from core.llm.pipeline.handler import Call
from core.llm.providers.base.provider import ProviderServices
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.base.spec import ProviderSpec
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.runtime.build import build_runtime
from core.llm.runtime.resources import ResourcePool
from core.llm.runtime.runtime import Runtime
from core.llm.runtime.state import RuntimeState
from core.llm.testing import ScriptedConfig, ScriptedProvider

WATCHED = ProviderSpec("watched", "tests.unit.runtime.support:WatchedConfig", "tests.unit.runtime.support:Watched")
"""The provider below as a type."""


class WatchedConfig(ScriptedConfig):
    """Says how the provider misbehaves."""

    fails: str = ""
    """`constructor`, `start`, `start_hangs`, `slow`, `facts` or `close`."""


class Watched(ScriptedProvider):
    """Writes down what happens to it in `Watched.log`."""

    log: list[str] = []
    starting: asyncio.Event
    """Set when a slow start has begun."""
    go_on: asyncio.Event
    """Ends slow starts."""

    config: WatchedConfig

    def __init__(self, config: WatchedConfig, services: ProviderServices) -> None:
        super().__init__(config, services)
        if config.fails == "constructor":
            raise ValueError("secret text of a constructor")
        self.log.append(f"{self.name} built")

    async def start(self) -> None:
        if self.config.fails == "start":
            raise ValueError("secret text of a start")
        if self.config.fails == "start_hangs":
            await asyncio.Event().wait()
        if self.config.fails == "slow":
            self.starting.set()
            await self.go_on.wait()
        await super().start()
        self.log.append(f"{self.name} started")

    def facts(self, model: str) -> ModelFacts:
        if self.config.fails == "facts":
            raise ValueError("secret text of facts")
        return super().facts(model)

    async def close(self) -> None:
        await super().close()
        self.log.append(f"{self.name} closed")
        if self.config.fails == "close":
            raise ValueError("secret text of a close")


def a_config(**providers: Any) -> LLMServiceConfig:
    """A configuration of watched providers, each given by its settings or by one answer."""
    config = {
        name: WatchedConfig.model_validate({"type": "watched", "models": ["m"], **options})
        for name, options in providers.items()
    }
    return LLMServiceConfig(providers=config)


class World:
    """What survives from configuration to configuration."""

    def __init__(self) -> None:
        Watched.log.clear()
        Watched.starting, Watched.go_on = asyncio.Event(), asyncio.Event()
        self.events = EventBus()
        self.clock = SystemClock()
        self.resources = ResourcePool()
        self.factory = LLMProviderFactory(self.resources, self.events, plugins=[WATCHED])
        self.state = RuntimeState(self.clock, self.events)
        self.generation = 0

    async def build(
        self, config: LLMServiceConfig, previous: Runtime | None = None, disabled: dict[str, str] | None = None
    ) -> Runtime:
        """The runtime of *config*, on top of *previous*."""
        self.generation += 1
        return await build_runtime(self.generation, config, disabled or {}, self.factory, self.state, previous)

    def call(self, runtime: Runtime) -> Call:
        """A call that is registered at *runtime*, as the service does it."""
        call = Call(
            LLMRequest(messages="hi"),
            "stream",
            id="c",
            generation=runtime.generation,
            deadline=Deadline(math.inf),
            clock=self.clock,
            rng=random.Random(0),
            events=self.events,
        )
        runtime.calls.add(call)
        return call
