"""Custom providers over classes of `tests/workers/own_engines.py`."""

import pytest

from core.llm.common.events import ModelEvent
from core.llm.providers.custom.config import CustomConfig
from core.llm.providers.custom.provider import CustomProvider
from core.llm.testing.services import SimpleResources, provider_services
from tests.workers import own_engines

ECHO = "tests.workers.own_engines:Echo"


@pytest.fixture
def resources():
    """Where worker processes are held; shared by the providers of a test."""
    return SimpleResources()


@pytest.fixture
async def make_provider(resources):
    """Start providers that are closed at the end of the test; `.told` holds the events of their models."""
    made = []

    async def make(models=None, **fields):
        config = CustomConfig(models={"tiny": {"engine": ECHO}} if models is None else models, **fields)
        services = provider_services("local", resources=resources)
        provider = CustomProvider(config, services)
        provider.__dict__["told"] = told = []
        services.events.subscribe(told.append, ModelEvent)
        made.append(provider)
        await provider.start()
        return provider

    yield make
    for provider in made:
        await provider.close()


@pytest.fixture
def hanging():
    """What hangs goes on at the end of the test."""
    own_engines.released.clear()
    yield
    own_engines.released.set()


@pytest.fixture(params=["process", "none"])
async def provider(make_provider, request):
    """The echo as `tiny`, in a process of its own and in threads of this one."""
    return await make_provider({"tiny": {"engine": ECHO, "isolation": request.param, "parallel": 4}})
