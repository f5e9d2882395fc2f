"""Each phase of an attempt has its own limit, and only time spent waiting for the network counts."""

import asyncio
import socket
import time

import psutil
import pytest
from aiohttp.abc import AbstractResolver

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall
from core.llm.testing import FakeClock
from core.llm.testing.wire_steps import Announce, End, Head, Send, Stall, WaitFor, answer, script, stream
from tests.unit.transport.conftest import POST, STREAM, limits


async def error_of(coroutine) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await coroutine
    error = caught.value
    # aiohttp's exceptions hold the request's headers: none may hang on ours.
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


async def drain(transport, call=STREAM, *, given: PhaseLimits, output: bool = True) -> bytes:
    reply = await transport.send(call, given)
    got = b""
    try:
        async for piece in reply.chunks():
            got += piece
            if output:
                reply.output_seen()
    finally:
        reply.close()
    return got


async def test_a_connection_that_is_never_accepted_ends_at_the_connect_limit(server, open_transport):
    """A server that accepts but never finishes the TLS handshake is given up on; nothing was billed."""
    server.on_connect(script(Stall()))
    began = time.monotonic()
    error = await error_of(open_transport(server.url.replace("http:", "https:")).send(POST, limits(connect=0.1)))
    assert (error.type, error.code, error.billing) == ("timeout", "connect_timeout", "none")
    assert 0.1 <= time.monotonic() - began < 20
    assert "127.0.0.1" in str(error)


async def test_a_stream_without_a_head_ends_at_the_first_token_limit(server, transport):
    server.will(script(Stall()))
    began = time.monotonic()
    error = await error_of(transport.send(STREAM, limits(first_token=0.1)))
    assert (error.type, error.code, error.billing) == ("timeout", "first_token_timeout", "ambiguous")
    assert 0.1 <= time.monotonic() - began < 20


async def test_a_head_alone_is_not_a_first_token(server, transport):
    """The limit runs on after the head: a server that answers at once and then thinks for ever is given up on."""
    server.will(stream([], end=False).then(Stall()))
    error = await error_of(drain(transport, given=limits(first_token=0.1)))
    assert (error.code, error.billing) == ("first_token_timeout", "ambiguous")


async def test_bytes_without_output_do_not_stop_the_first_token_limit(server, transport):
    server.will(stream([b": ping\n\n"] * 100, gap=0.02))
    error = await error_of(drain(transport, given=limits(first_token=0.1), output=False))
    assert error.code == "first_token_timeout"


async def test_silence_after_output_ends_at_the_idle_limit(server, transport):
    server.will(stream([b"data: 1\n\n"], end=False).then(Stall()))
    began = time.monotonic()
    error = await error_of(drain(transport, given=limits(idle=0.1)))
    assert (error.type, error.code, error.billing) == ("timeout", "idle_timeout", "estimated")
    assert 0.1 <= time.monotonic() - began < 20


async def test_pings_after_output_end_at_the_progress_limit(server, open_transport):
    """Signs of life keep the idle limit quiet, but they are not an answer."""
    clock, pings = FakeClock(), [asyncio.Event() for _ in range(3)]
    server.will(
        stream([b"data: 1\n\n"], end=False).then(
            *(step for ping in pings for step in (WaitFor(ping), Send(b": ping\n\n"))), Stall()
        )
    )
    transport = open_transport(server.url, clock)
    reply = await transport.send(STREAM, limits(total=1e4, idle=100, progress=250, clock=clock))
    pieces = reply.chunks()
    assert await anext(pieces) == b"data: 1\n\n"
    reply.output_seen()
    for ping in pings:
        waiting = asyncio.ensure_future(anext(pieces))
        await clock.advance(80)
        ping.set()
        assert await waiting == b": ping\n\n"
    waiting = asyncio.ensure_future(anext(pieces))
    await clock.advance(20)
    error = await error_of(waiting)
    reply.close()
    assert (error.type, error.code, error.billing) == ("timeout", "progress_timeout", "estimated")


async def test_a_drip_ends_at_the_deadline(server, transport):
    """A body that trickles below every other limit does not outlive the call."""
    server.will(script(Head(200, {}, "length", 1000), Send(b"0" * 1000, slice=1, gap=0.02)))
    began = time.monotonic()

    async def read():
        reply = await transport.send(POST, limits(total=0.2))
        try:
            await reply.read()
        finally:
            reply.close()

    error = await error_of(read())
    assert (error.type, error.code, error.billing) == ("timeout", "deadline_exceeded", "ambiguous")
    assert 0.19 <= time.monotonic() - began < 20


async def test_a_head_that_drips_ends_at_the_deadline(server, transport):
    server.will(script(Send(b"HTTP/1.1 200 OK\r\n" * 20, slice=1, gap=0.02, raw=True)))
    error = await error_of(transport.send(POST, limits(total=0.2)))
    assert error.code == "deadline_exceeded"


async def test_nothing_is_sent_after_the_deadline(server, transport):
    error = await error_of(transport.send(POST, limits(total=-1)))
    assert (error.code, error.billing) == ("deadline_exceeded", "none")
    assert server.connections == []


@pytest.mark.parametrize("awaited", [False, True], ids=["data-is-there", "data-is-awaited"])
async def test_a_slow_consumer_is_not_an_idle_server(server, open_transport, awaited):
    """The limits do not run while the consumer holds an event."""
    clock, gates = FakeClock(), [asyncio.Event() for _ in range(3)]
    steps = (step for gate in gates for step in (WaitFor(gate), Send(b"data: 1\n\n")))
    server.will(stream([], end=False).then(*steps, End()))
    transport = open_transport(server.url, clock)
    reply = await transport.send(STREAM, limits(total=1e4, idle=5, progress=5, first_token=5, clock=clock))
    if not awaited:
        for gate in gates:
            gate.set()
    got = b""
    for gate in gates:
        if len(got) == 9 * gates.index(gate):  # more than one may have come at once
            waiting = asyncio.ensure_future(anext(reply.chunks()))
            if awaited:
                await clock.advance(4)
                gate.set()
            got += await waiting
            reply.output_seen()
        await clock.advance(60)
    assert got + b"".join([piece async for piece in reply.chunks()]) == b"data: 1\n\n" * 3
    reply.close()


async def test_a_slow_connection_does_not_delay_the_first_token_limit(server, open_transport):
    """Each phase has its full time, and no more, however long the one before it took."""

    class SlowNames(AbstractResolver):
        async def resolve(self, host, port=0, family=socket.AF_INET):
            await asyncio.sleep(0.15)
            return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

        async def close(self):
            """Nothing to close."""

    server.will(script(Stall()))
    transport = open_transport(f"http://slow.example:{server.port}", resolver=SlowNames())
    began = time.monotonic()
    error = await error_of(transport.send(STREAM, limits(first_token=0.1)))
    assert error.code == "first_token_timeout"
    assert 0.25 <= time.monotonic() - began < 20


async def test_a_consumer_that_returns_after_the_deadline_gets_the_error_from_the_stream(server, open_transport):
    """The error is raised where the stream is read, never in the middle of what the consumer was doing."""
    clock = FakeClock()
    transport = open_transport(server.url, clock)
    server.will(stream([b"data: 1\n\n"], end=False).then(Stall()))
    reply = await transport.send(STREAM, limits(clock=clock))
    pieces = reply.chunks()
    assert await anext(pieces) == b"data: 1\n\n"
    reply.output_seen()
    await clock.advance(61)
    error = await error_of(anext(pieces))
    assert error.code == "deadline_exceeded"
    await server.connections[0].ended.wait()
    reply.close()


async def test_the_clock_is_a_parameter(server, open_transport):
    """A ten-minute silence takes no time in a test."""
    clock = FakeClock()
    began = asyncio.Event()
    server.will(script(Announce(began), Stall()))
    transport = open_transport(server.url, clock)
    task = asyncio.create_task(
        transport.send(STREAM, PhaseLimits(first_token=600, deadline_at=clock.monotonic() + 1e4))
    )
    await began.wait()
    await clock.advance(599)
    assert not task.done()
    await clock.advance(2)
    assert (await error_of(task)).code == "first_token_timeout"
    assert clock.pending == 0


async def test_a_finished_call_leaves_no_timer_behind(server, open_transport):
    clock = FakeClock()
    transport = open_transport(server.url, clock)
    server.will(answer(b"{}"), stream([b"data: 1\n\n"]))
    reply = await transport.send(POST, PhaseLimits(deadline_at=clock.monotonic() + 60))
    await reply.read()
    reply.close()
    await drain(transport, given=PhaseLimits(deadline_at=clock.monotonic() + 60))
    assert clock.pending == 0


async def test_cancelling_while_waiting_for_the_head_passes_and_cuts(server, transport):
    """Cancellation is never turned into an error, and the server sees the connection go."""
    server.will(script(Stall()))
    task = asyncio.create_task(transport.send(POST, limits()))
    await server.wait_for_requests(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.connections[0].ended.wait(), 10)


async def test_cancelling_while_reading_passes_and_cuts(server, transport):
    server.will(stream([b"data: 1\n\n"], end=False).then(Stall()))
    task = asyncio.create_task(drain(transport, given=limits()))
    await server.wait_for_requests(1)
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.connections[0].ended.wait(), 10)


async def test_a_cancellation_at_the_moment_of_a_timeout_wins(server, transport):
    """Whoever cancels a task wants it gone; an end from our side at the same moment does not swallow that."""
    server.will(script(Stall()))
    task = asyncio.create_task(transport.send(POST, limits()))
    await server.wait_for_requests(1)
    task.cancel()
    await transport.close()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_big_request_that_nobody_reads_ends_at_the_deadline(open_transport):
    """Not even bytes that are still waiting to be sent keep the connection open."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        transport = open_transport(f"http://127.0.0.1:{port}")
        error = await error_of(transport.send(HttpCall("POST", "/", b"0" * 20_000_000), limits(total=0.2)))
        assert error.code == "deadline_exceeded"

        def mine() -> list:
            return [one for one in psutil.Process().net_connections("tcp") if one.raddr and one.raddr.port == port]

        async with asyncio.timeout(20):
            while mine():
                await asyncio.sleep(0.02)
