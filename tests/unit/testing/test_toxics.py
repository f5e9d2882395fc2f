"""The toxic proxy: what each toxic does to bytes that pass, and that nothing is left of it."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from core.llm.testing import WireServer
from core.llm.testing.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    ToxicProxy,
)
from core.llm.testing.wire_steps import Fin, answer

pytestmark = pytest.mark.leakcheck
BODY = b"x" * 5000


@pytest.fixture
async def proxy(no_leaks) -> AsyncIterator[ToxicProxy]:
    async with WireServer() as server:
        server.otherwise(answer(BODY).then(Fin()))
        async with ToxicProxy("127.0.0.1", server.port) as proxy:
            yield proxy


async def get(proxy: ToxicProxy, patience: float = 30) -> tuple[bytes, int, float]:
    """What arrives, in how many pieces, and when the connection was over."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    pieces = []
    try:
        while piece := await asyncio.wait_for(reader.read(1 << 16), patience):
            pieces.append(piece)
    finally:
        writer.close()
    return b"".join(pieces), len(pieces), time.monotonic() - began


async def test_without_toxics_everything_passes(proxy) -> None:
    data, _, _ = await get(proxy)
    assert data.endswith(BODY)
    assert proxy.accepted == 1


async def test_latency_and_bandwidth_take_their_time(proxy) -> None:
    proxy.add(Latency(0.1, jitter=0.02))
    assert (await get(proxy))[2] >= 0.08
    proxy.clear()
    proxy.add(Bandwidth(20_000))
    data, _, seconds = await get(proxy)
    assert data.endswith(BODY)
    assert seconds >= 0.25


async def test_a_slicer_cuts_but_loses_nothing(proxy) -> None:
    proxy.add(Slicer(100, gap=0.001))
    data, pieces, _ = await get(proxy)
    assert data.endswith(BODY)
    assert pieces > 10


async def test_a_limit_ends_the_connection_after_so_many_bytes(proxy) -> None:
    proxy.add(LimitData(1000))
    assert len((await get(proxy))[0]) == 1000


async def test_a_reset_is_an_error_and_no_end(proxy) -> None:
    proxy.add(ResetPeer())
    with pytest.raises(ConnectionResetError):
        await get(proxy)


async def test_a_black_hole_says_nothing(proxy) -> None:
    proxy.add(Timeout(), "up")
    with pytest.raises(TimeoutError):
        await get(proxy, patience=0.5)


async def test_a_slow_close_holds_the_end_back(proxy) -> None:
    proxy.add(SlowClose(0.3))
    data, _, seconds = await get(proxy)
    assert data.endswith(BODY)
    assert seconds >= 0.3


async def test_a_server_that_is_not_there_is_a_reset(no_leaks, closed_port) -> None:
    async with ToxicProxy("127.0.0.1", closed_port) as proxy:
        with pytest.raises(ConnectionError):
            await get(proxy)
