"""What a provider is given by the runtime, for tests that build one by hand."""

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from core.llm.common.clock import Clock, SystemClock
from core.llm.common.events import EventBus
from core.llm.providers.base.provider import ProviderServices


@dataclass(slots=True)
class _Lease:
    resource: Any
    give_back: Callable[[], None]
    close: Callable[[], Any]
    released: bool = False

    async def release(self) -> None:
        if self.released:
            return
        self.released = True
        self.give_back()
        await self.close()


@dataclass(slots=True)
class _Entry:
    resource: Any
    shares: int = 0


@dataclass(slots=True)
class SimpleResources:
    """Resources by key, each closed when its last share is given back. Nothing is kept for later."""

    _entries: dict[Hashable, _Entry] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """How many resources are held; zero once every provider has been closed."""
        return len(self._entries)

    def acquire(self, key: Hashable, create: Callable[[], Any]) -> _Lease:
        """The resource of *key*, made by *create* when there is none."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(create())
        entry.shares += 1

        def give_back() -> None:
            entry.shares -= 1

        async def close() -> None:
            if entry.shares == 0 and self._entries.get(key) is entry:
                del self._entries[key]
                await entry.resource.close()

        return _Lease(entry.resource, give_back, close)


def provider_services(
    name: str = "test",
    *,
    clock: Clock | None = None,
    events: EventBus | None = None,
    resources: SimpleResources | None = None,
    seed: int = 0,
) -> ProviderServices:
    """Services for a provider of that name: the real clock unless another is given, seeded randomness."""
    return ProviderServices(
        name,
        resources or SimpleResources(),
        clock or SystemClock(),
        events or EventBus(),
        random.Random(seed),
    )
