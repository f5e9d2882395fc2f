"""A scripted LM Studio server, and providers that talk to it over real HTTP."""

from collections.abc import AsyncIterator

import pytest

from core.llm.common.events import EventBus
from core.llm.providers.lm_studio.config import LMStudioConfig
from core.llm.providers.lm_studio.provider import LMStudioProvider
from core.llm.testing import FakeClock, provider_services
from core.llm.testing.lm_studio_server import LMStudioModelSpec, LMStudioServer


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def server(clock: FakeClock) -> AsyncIterator[LMStudioServer]:
    """Its time to live is counted by a clock that the test moves."""
    models = (
        LMStudioModelSpec("embedder", "embedding", max_context_length=2048),
        LMStudioModelSpec("tiny", reasoning=True, variants=("tiny@q4",)),
        LMStudioModelSpec("other", tools=False, vision=True),
    )
    async with LMStudioServer(*models, clock=clock) as server:
        yield server


@pytest.fixture
def make(server: LMStudioServer, started):
    """Start a provider with some configuration; it is closed at the end."""

    async def start(events: EventBus | None = None, clock=None, **config) -> LMStudioProvider:
        settings = LMStudioConfig(**{"base_url": server.url, **config})
        return await started(LMStudioProvider(settings, provider_services("lm_studio", events=events, clock=clock)))

    return start


@pytest.fixture
async def provider(make) -> LMStudioProvider:
    return await make()
