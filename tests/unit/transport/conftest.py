"""A wire server and a transport that talks to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from core.llm.common.clock import Clock
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall
from core.llm.testing.wire_server import WireServer
from core.llm.transport.http import HttpTransport
from core.llm.transport.http_options import HttpOptions

POST = HttpCall("POST", "/chat", b'{"model":"m"}', {"Authorization": "Bearer canary-secret-0123456789"})
STREAM = HttpCall("POST", "/chat", b'{"model":"m"}', streaming=True)


def limits(
    *, total: float = 60.0, connect=30.0, first_token=30.0, idle=30.0, progress=30.0, clock: Clock | None = None
) -> PhaseLimits:
    """Limits that end *total* seconds from now; what a test does not set is longer than a machine stands still."""
    now = time.monotonic() if clock is None else clock.monotonic()
    return PhaseLimits(connect, first_token, idle, progress, deadline_at=now + total)


async def nothing_live(transport: HttpTransport) -> None:
    """Wait until the transport has no attempt under way."""
    async with asyncio.timeout(20):
        while not repr(transport).endswith("0 live)"):
            await asyncio.sleep(0.002)


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
