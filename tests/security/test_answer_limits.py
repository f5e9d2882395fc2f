"""S30: an upstream that sends too much costs a bounded amount of memory, and is cut off."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from core.container import Container
from core.llm import LLMService, ProviderError, ProviderModule

MIB = 2**20
ROOM = 64 * MIB
"""What one event of 16 MiB takes while it is put together, twice; the floods are three to five times as large."""
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def flood(kind: str) -> AsyncIterator[str]:
    """The address of a server that sends too much of *kind*."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.security.flood", kind, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.communicate()


async def cut_off(kind: str, *, streaming: bool = False, **options: object) -> ProviderError:
    """How a call ends that is answered with such a flood, while this process may grow by no more than `ROOM`."""
    async with flood(kind) as url:
        provider = {"type": "openai_compatible", "base_url": url, "models": ["m"], **options}
        config = {"default_model": "far/m", "providers": {"far": provider}, "retry": {"max_retries": 0}}
        async with Container([ProviderModule({"llm_service": config}, env={})]) as container:
            llm = container.get(LLMService)
            gc.collect()
            before = psutil.Process().memory_info().rss
            with pytest.raises(ProviderError) as caught:
                if streaming:
                    async with llm.stream("hi") as events:
                        async for _ in events:
                            pass
                else:
                    await llm.generate("hi")
            grown = psutil.Process().memory_info().rss - before
    assert grown < ROOM, f"grew by {grown / MIB:.0f} MiB"
    return caught.value


async def test_S30_a_body_beyond_its_limit():
    """192 MiB are offered; a little more than the one allowed is taken."""
    error = await cut_off("body", max_response_bytes="1MiB")
    assert (error.type, error.code) == ("protocol", "too_large")
    assert "max_response_bytes" in str(error)


async def test_S30_a_body_that_unpacks_beyond_its_limit():
    """A bomb: 200 KB on the wire, 200 MiB behind it. What counts is the unpacked size."""
    error = await cut_off("bomb", max_response_bytes="1MiB")
    assert (error.type, error.code) == ("protocol", "too_large")


async def test_S30_an_error_of_which_only_the_beginning_is_read():
    """The rest of 192 MiB is never fetched."""
    error = await cut_off("error")
    assert (error.type, error.status_code) == ("server_error", 500)


async def test_S30_a_header_beyond_its_limit():
    error = await cut_off("header")
    assert (error.type, error.code) == ("protocol", "headers")


async def test_S30_an_event_beyond_its_limit():
    """One line without an end."""
    error = await cut_off("event", streaming=True)
    assert (error.type, error.code) == ("protocol", "too_large")


async def test_S30_a_stream_beyond_its_limit():
    """Comments without end: no event is large, all of them together are."""
    error = await cut_off("stream", streaming=True)
    assert (error.type, error.code) == ("protocol", "too_large")
    assert error.partial is not None
    assert error.partial.text == "x"
