"""A pool of keys before a scripted handler."""

from typing import Any

import pytest

from core.llm.common.events import EventBus, ProviderStateChanged
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelRef
from core.llm.pipeline.handler import Handler
from core.llm.pipeline.key_states import KeyStates
from core.llm.pipeline.keys import KeyPool, keys
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.testing import EventRecorder, FakeClock
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, answered


class Rig:
    """A pool of keys before a scripted handler."""

    def __init__(
        self,
        *secrets: str,
        states: KeyStates | None = None,
        clock: FakeClock | None = None,
        target: ModelRef = ALPHA,
        **config: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.events = EventBus()
        self.seen = EventRecorder(self.events)
        self.inner = Scripted()
        self.states = states or KeyStates()
        self.config = ProviderConfig.model_validate({"api_keys": secrets, **config})
        self.pool = KeyPool(self.config, self.states, target, self.clock, self.events)
        self.handler: Handler = keys(self.pool)(self.inner)

    async def call(self) -> str:
        return (await answered(self.handler, a_call(clock=self.clock))).content

    async def calls(self, count: int) -> list[str | None]:
        """The keys of *count* calls that are answered."""
        before = len(self.inner.keys)
        for _ in range(count):
            await self.call()
        return self.inner.keys[before:]

    def changes(self) -> list[str]:
        """The states that events told, in order."""
        return [event.state for event in self.seen.of(ProviderStateChanged)]

    async def failure(self, error: ProviderError | None = None) -> ProviderError:
        """What one call raises; the provider raises *error*."""
        if error is not None:
            self.inner.outcomes.append(error)
        with pytest.raises(ProviderError) as caught:
            await self.call()
        return caught.value
