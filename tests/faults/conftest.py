"""The rig: a service in a container, one misbehaving upstream behind it, and a healthy spare to fall back to."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from core.container import Container
from core.llm import LLMService, ProviderModule
from core.llm.testing.wire_server import WireServer
from tests.faults.rig import DIALECTS, Rig, config_for


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request):
    """The wire format of the upstream at fault."""
    return request.param


@pytest.fixture
async def make_rig(no_leaks) -> AsyncIterator[Callable[..., Awaitable[Rig]]]:
    """Builds rigs and takes them down again."""
    async with AsyncExitStack() as stack:

        async def make(dialect, *, tls=None, url=None, provider=None, clock=None, **service) -> Rig:
            server = await stack.enter_async_context(WireServer(tls=tls))
            spare = await stack.enter_async_context(WireServer())
            config = config_for(dialect, url or server.url, spare.url, provider or {}, service)
            module = ProviderModule(config, watch=False, env={}, clock=clock)
            container = await stack.enter_async_context(Container([module]))
            return Rig(dialect, server, spare, container.get(LLMService))

        yield make


@pytest.fixture
async def rig(make_rig, dialect) -> Rig:
    """A rig for each dialect, with limits that are far away."""
    return await make_rig(dialect)


@pytest.fixture
def stopwatch() -> Callable[[], float]:
    """Seconds since the test began to call."""
    began = time.monotonic()
    return lambda: time.monotonic() - began
