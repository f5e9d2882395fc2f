"""A service whose alias is hedged, on a clock that a test moves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from core.llm.common.events import Event
from core.llm.providers.base.response import LLMResponse
from core.llm.testing import FakeClock
from tests.unit.llm.support import World, serving


class Hedged:
    """Alias `fast`: alpha, then beta, then gamma."""

    def __init__(self, world: World, clock: FakeClock) -> None:
        self.world = world
        self.clock = clock
        self.events: list[Event] = []
        world.events.subscribe(self.events.append)

    @property
    def sent(self) -> list[int]:
        """Requests that reached each provider."""
        return [len(self.world.scripts[name].requests) for name in ("alpha", "beta", "gamma")]

    def of(self, kind: type[Any]) -> list[Any]:
        """Events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def read(self, mode: str = "generate", **options: Any) -> LLMResponse:
        """One call, read to its end."""
        options = {"model": "fast", **options}
        if mode == "generate":
            return await self.world.service.generate("hi", **options)
        async with self.world.service.stream("hi", **options) as stream:
            return await stream.response()

    async def begin(self, mode: str = "generate", **options: Any) -> "asyncio.Task[LLMResponse]":
        """A call under way."""
        task = asyncio.create_task(self.read(mode, **options))
        await self.clock.settle()
        return task


@asynccontextmanager
async def hedged(hedge: Any = "1s", use: Any = "alpha/m", **config: Any) -> AsyncIterator[Hedged]:
    """The service; each call may be hedged unless *hedge* says otherwise."""
    clock = FakeClock()
    options = {"after": hedge, "max_extra": 1.0} if isinstance(hedge, str) else hedge
    alias = {"use": use, "fallback": ["beta/m", "gamma/m"], "hedge": options}
    async with serving("alpha", "beta", "gamma", clock=clock, models={"fast": alias}, **config) as world:
        yield Hedged(world, clock)
