"""A manager over one file, what it published, and what its runtime was asked to do."""

import asyncio
from pathlib import Path
from typing import Any

from core.llm.common.clock import SystemClock
from core.llm.common.events import Event, EventBus
from core.llm.providers.config.changes import ConfigChange, ReloadResult
from core.llm.providers.config.manager import ProviderConfigManager
from tests.unit.providers.config.fake_types import TYPES, resolve

GOOD = """\
llm_service:
  default_model: fast
  models: {fast: ollama/q}
  providers:
    ollama: {timeouts: {connect: 10s}}
    openai: {api_key: first-key}
"""


class Rig:
    """A manager over a file, with what it published and what its runtime was asked to do."""

    def __init__(self, path: Path, source: Any = None, **more: Any) -> None:
        self.path = path
        self.events: list[Event] = []
        self.changes: list[ConfigChange] = []
        bus = EventBus()
        bus.subscribe(self.events.append)
        self.manager = ProviderConfigManager(
            path if source is None else source,
            resolve=resolve,
            events=bus,
            clock=SystemClock(),
            env=more.pop("env", {}),
            watch=False,
            known_types=lambda: TYPES,
            **more,
        )

    def of(self, kind: type[Event]) -> list[Any]:
        """Events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def apply(self, change: ConfigChange) -> None:
        """A runtime that can build anything."""
        self.changes.append(change)

    async def reloading(self, go: asyncio.Event) -> "asyncio.Task[ReloadResult]":
        """Whoever waits for a reload of an edited file that is being applied, and is not before *go* is set."""
        applying = asyncio.Event()

        async def slow(_: ConfigChange) -> None:
            applying.set()
            await go.wait()

        self.manager.set_applier(slow)
        self.path.write_text(GOOD.replace("10s", "1s"))
        caller = asyncio.create_task(self.manager.reload())
        await applying.wait()
        return caller
