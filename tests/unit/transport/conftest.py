"""A wire server and a transport that talks to it."""

import time
from collections.abc import AsyncIterator, Callable

import pytest

from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall
from core.llm.testing.wire_server import WireServer
from core.llm.transport.http import HttpTransport
from core.llm.transport.http_options import HttpOptions

POST = HttpCall("POST", "/chat", b'{"model":"m"}', {"Authorization": "Bearer canary-secret-0123456789"})
STREAM = HttpCall("POST", "/chat", b'{"model":"m"}', streaming=True)


def limits(*, total: float = 5.0, connect=1.0, first_token=1.0, idle=1.0, progress=1.0) -> PhaseLimits:
    """Limits that end *total* seconds from now."""
    return PhaseLimits(connect, first_token, idle, progress, deadline_at=time.monotonic() + total)


@pytest.fixture
async def server(no_leaks) -> AsyncIterator[WireServer]:
    async with WireServer() as server:
        yield server


@pytest.fixture
async def open_transport(no_leaks) -> AsyncIterator[Callable[..., HttpTransport]]:
    """Makes transports and closes them."""
    made: list[HttpTransport] = []

    def make(base_url: str, clock=None, resolver=None, **options) -> HttpTransport:
        made.append(HttpTransport(HttpOptions(base_url, **options), clock, resolver=resolver))
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


@pytest.fixture
async def transport(server, open_transport) -> HttpTransport:
    return open_transport(server.url)
