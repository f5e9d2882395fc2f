"""What the tests of every provider's wire need: an event bus, and providers that are closed at the end."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from core.llm.common.events import EventBus
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.testing import EventRecorder


@pytest.fixture
def events() -> EventBus:
    return EventBus()


@pytest.fixture
def recorder(events: EventBus) -> EventRecorder:
    return EventRecorder(events)


@pytest.fixture
async def started() -> AsyncIterator[Callable[[BaseLLMProvider], Awaitable[BaseLLMProvider]]]:
    """Starts a provider; it is closed at the end."""
    made: list[BaseLLMProvider] = []

    async def start(provider: BaseLLMProvider) -> BaseLLMProvider:
        await provider.start()
        made.append(provider)
        return provider

    yield start
    for provider in made:
        await provider.close()
