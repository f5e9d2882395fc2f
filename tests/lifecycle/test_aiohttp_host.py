"""A web application that owns the event loop and holds the container in its cleanup context."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from injector import singleton

from core.container import Container, ContainerState
from tests.unit.core.components import Component, fails

pytestmark = pytest.mark.leakcheck

CONTAINER = web.AppKey("container", Container)


def application(container: Container, seen: list[str]) -> web.Application:
    async def hold(app: web.Application) -> AsyncIterator[None]:
        async with container:
            app[CONTAINER] = container
            yield

    async def answer(request: web.Request) -> web.Response:
        seen.append("serving")
        return web.Response(text=request.app[CONTAINER].get(Component).name)

    app = web.Application()
    app.cleanup_ctx.append(hold)
    app.router.add_get("/", answer)
    return app


async def test_container_is_started_before_the_server_and_stopped_after_it() -> None:
    seen: list[str] = []
    container = Container([lambda binder: binder.bind(Component, to=lambda: Component("A", seen), scope=singleton)])
    runner = web.AppRunner(application(container, seen))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]

    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/") as response:
        assert await response.text() == "A"
    await runner.cleanup()

    assert seen == ["+A", "serving", "-A"]
    assert container.state is ContainerState.STOPPED


async def test_failed_start_is_the_hosts_own_setup_error() -> None:
    seen: list[str] = []

    def configure(binder) -> None:
        binder.bind(Component, to=lambda: Component("A", seen), scope=singleton)
        binder.bind(object, to=lambda: Component("B", seen, start=fails(OSError("port in use"))), scope=singleton)

    runner = web.AppRunner(application(Container([configure]), seen))
    with pytest.raises(OSError, match="port in use"):
        await runner.setup()
    await runner.cleanup()
    assert seen == ["+A", "-A"]
