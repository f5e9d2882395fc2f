"""F134: what may block, a name server or a vendor's library for credentials, does so in a thread."""

import asyncio
import socket
import threading
from datetime import UTC, datetime, timedelta

import pytest

from core.container import Container
from core.llm import LLMService, ProviderModule
from core.llm.common.clock import SystemClock
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.transport.access_token import AccessTokens, IssuedToken

TURNS = 200


class Released:
    """Blocks its thread until the event loop has made many turns meanwhile; on the loop's own thread it never ends."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.turned = threading.Event()
        self.was_free = False

    def block(self) -> None:
        """Wait for the loop."""
        self.entered.set()
        self.was_free = self.turned.wait(10.0)

    async def turn(self) -> None:
        """Wait until something blocks, then let the loop turn, and release it."""
        while not self.entered.is_set():
            await asyncio.sleep(0.001)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self.turned.set()


async def test_f134_a_name_server_that_hangs_does_not_stop_the_loop(monkeypatch, no_leaks):
    """Other tasks go on while a name is looked up."""
    released = Released()

    def getaddrinfo(*args, **kwargs):
        released.block()
        raise socket.gaierror(socket.EAI_AGAIN, "the name server is slow")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    config = {
        "default_model": "far/m",
        "providers": {"far": {"type": "openai_compatible", "base_url": "http://far.example:8000/v1", "api_key": "sk-1",
                              "allow_insecure": True}},
        "retry": {"max_retries": 0},
        "health_check": {"enabled": False},
    }  # fmt: skip
    async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
        turning = asyncio.create_task(released.turn())
        with pytest.raises(LLMError):
            await container.get(LLMService).generate("hi")
        await turning
    assert released.was_free


@pytest.mark.parametrize("fails", [False, True])
async def test_f134_a_vendors_library_that_hangs_does_not_stop_the_loop(fails, no_leaks):
    """A hundred calls wait for one token, and everybody else goes on."""
    released, issued = Released(), []

    def issue() -> IssuedToken:
        issued.append(threading.current_thread())
        released.block()
        if fails:
            raise OSError("the metadata server is gone")
        return IssuedToken("token", datetime.now(UTC) + timedelta(hours=1))

    tokens = AccessTokens(SystemClock(), issue, lambda _: ProviderError("authentication", "no credentials"))
    turning = asyncio.create_task(released.turn())
    results = await asyncio.gather(*(tokens.token() for _ in range(100)), return_exceptions=True)
    await turning
    await tokens.close()
    assert released.was_free
    assert len(issued) == 1
    assert issued[0] is not threading.main_thread()
    assert all(isinstance(result, ProviderError) is fails for result in results)
