"""Connections: used again where that is safe, never leaked, cut when the transport is closed."""

import asyncio
import gc
import socket
import time
import warnings

import pytest
from aiohttp.abc import AbstractResolver

from core.llm.common.exceptions import ProviderError
from core.llm.testing import FakeClock
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import Announce, End, Fin, Head, Rst, Send, Stall, WaitFor, answer, script, stream
from core.llm.transport.http import HttpTransport
from core.llm.transport.http_options import HttpOptions
from tests.unit.transport.conftest import POST, STREAM, limits


async def call(transport, request=POST, **given) -> bytes:
    reply = await transport.send(request, limits(**given))
    try:
        return await reply.read()
    finally:
        reply.close()


async def failed(transport, request=POST, **given) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await call(transport, request, **given)
    assert caught.value.__context__ is None
    return caught.value


async def test_answers_and_finished_streams_share_a_connection(server, open_transport):
    """Also a stream whose end comes a moment after its last event: TLS handshakes are not paid for each answer."""
    clock, read = FakeClock(), asyncio.Event()
    transport = open_transport(server.url, clock)
    server.will(answer(b"{}"), stream([b"data: 1\n\n"], end=False).then(WaitFor(read), End()), answer(b"{}"))
    await call(transport, clock=clock)
    reply = await transport.send(STREAM, limits(clock=clock))
    assert await anext(reply.chunks()) == b"data: 1\n\n"
    reply.close()
    await clock.advance(0.01)
    read.set()
    async with asyncio.timeout(20):
        while not reply._attempt.response.closed:
            await asyncio.sleep(0.002)
    await clock.advance(0.02)
    assert repr(transport).endswith("0 live)")
    await call(transport, clock=clock)
    assert len(server.connections) == 1


async def test_a_stream_that_does_not_end_is_cut(server, transport):
    """After its last event a stream gets a moment to end; then the connection goes."""
    server.will(stream([b"data: [DONE]\n\n"], end=False).then(Stall()))
    reply = await transport.send(STREAM, limits())
    await anext(reply.chunks())
    reply.close()
    await asyncio.wait_for(server.connections[0].ended.wait(), 10)
    assert repr(transport).endswith("0 live)")


@pytest.mark.parametrize("ending", [Fin(), Rst()], ids=["fin", "rst"])
async def test_a_reused_connection_closed_without_a_byte_is_stale_and_unbilled(server, transport, ending):
    server.will(answer(b"{}"), script(ending, read_body=False))
    await call(transport)
    error = await failed(transport)
    assert (
        error.type,
        error.code,
        error.billing,
        error.retryable,
    ) == ("network_error", "stale_connection", "none", True)


async def test_F10_F163_after_a_stale_connection_no_other_idle_one_is_used(server, transport):
    """All of them were open while the server, or the laptop, slept: the next attempt goes out on a new one."""
    together = asyncio.Event()
    server.will(*[script(WaitFor(together), *answer(b"{}").steps)] * 5)
    calls = [asyncio.create_task(call(transport)) for _ in range(5)]
    await server.wait_for_requests(5)
    together.set()
    await asyncio.gather(*calls)
    server.choose(lambda request: script(Rst()) if request.connection.number <= 5 else answer(b"{}"))
    assert (await failed(transport)).code == "stale_connection"
    assert await call(transport) == b"{}"
    assert (len(server.requests), len(server.connections)) == (7, 6)
    assert await call(transport) == b"{}"
    assert len(server.connections) == 6


async def test_a_connection_that_answers_after_another_one_was_dead_is_used_again(server, transport):
    """Only what was idle at that moment is in doubt: TLS handshakes are not paid for what has just worked."""
    together, later = asyncio.Event(), asyncio.Event()
    server.will(*[script(WaitFor(together), *answer(b"{}").steps)] * 2)
    both = [asyncio.create_task(call(transport)) for _ in range(2)]
    await server.wait_for_requests(2)
    together.set()
    await asyncio.gather(*both)
    server.will(script(WaitFor(later), *answer(b"{}").steps), script(Rst()))
    answered = asyncio.create_task(call(transport))
    await server.wait_for_requests(3)
    assert (await failed(transport)).code == "stale_connection"
    later.set()
    await answered
    server.will(answer(b"{}"))
    await call(transport)
    assert len(server.connections) == 2


@pytest.mark.parametrize("ending", [Fin(), Rst()], ids=["fin", "rst"])
async def test_a_fresh_connection_closed_without_a_byte_may_have_been_billed(server, transport, ending):
    server.will(script(ending))
    error = await failed(transport)
    assert (error.type, error.code, error.billing) == ("network_error", "connection_lost", "ambiguous")


async def test_a_reused_connection_closed_within_the_head_may_have_been_billed(server, transport):
    """A single byte of an answer proves that the server has seen the request."""
    server.will(answer(b"{}"), script(Send(b"HTTP/1.1 20", raw=True), Stall(0.01), Fin()))
    await call(transport)
    assert (await failed(transport)).code == "connection_lost"


async def test_a_refused_connection_says_so(open_transport, closed_port):
    error = await failed(open_transport(f"http://127.0.0.1:{closed_port}"))
    assert (error.type, error.code, error.billing) == ("network_error", "connect", "none")
    assert "refused" in str(error)


async def test_an_unknown_name_says_so(open_transport):
    class NoNames(AbstractResolver):
        async def resolve(self, host, port=0, family=socket.AF_INET):
            raise OSError(None, "unknown")

        async def close(self):
            """Nothing to close."""

    error = await failed(open_transport("http://models.invalid", resolver=NoNames()))
    assert (error.type, error.code, error.billing) == ("network_error", "dns", "none")
    assert "models.invalid" in str(error)


async def test_a_body_that_breaks_delivers_everything_before_the_error(server, transport):
    """Bytes that arrived together with the end of the connection are not lost."""
    server.will(stream([b"data: 1\n\n", b"data: 2\n\n"], end=False).then(Fin()))
    reply = await transport.send(STREAM, limits())
    await asyncio.sleep(0.02)
    got = b""
    with pytest.raises(ProviderError) as caught:
        async for piece in reply.chunks():
            got += piece
    reply.close()
    assert got == b"data: 1\n\ndata: 2\n\n"
    assert (caught.value.type, caught.value.code) == ("network_error", "body_cut")


async def test_a_body_that_stops_being_http_is_a_protocol_error_at_once(server, transport):
    server.will(script(Head(), Send(b"ok"), Stall(0.01), Send(b"ZZ\r\n", raw=True), Stall()))
    began = time.monotonic()
    error = await failed(transport)
    assert (error.type, error.code) == ("protocol", "http")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("pause", [0.0, 0.01])
async def test_bytes_nobody_asked_for_never_become_an_answer(server, transport, pause):
    """A second answer that was smuggled behind the first is not taken for the answer to the next call."""
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    first, sent = answer(b"good"), asyncio.Event()
    late = [Stall(pause)] if pause else []
    server.will(first.then(*late, Send(smuggled, raw=True), Announce(sent)), answer(b"good"))
    assert await call(transport) == b"good"
    await sent.wait()
    await FakeClock().settle()  # turns of the loop, in which they are read
    assert await call(transport) == b"good"
    assert len(server.connections) == 2


async def test_a_full_pool_is_told_from_a_slow_server(server, open_transport):
    transport = open_transport(server.url, max_connections=1)
    release = asyncio.Event()
    server.will(script(WaitFor(release)).then(*answer(b"{}").steps))
    first = asyncio.create_task(call(transport))
    await server.wait_for_requests(1)
    error = await failed(transport, STREAM, total=0.15, first_token=0.05)
    assert (error.type, error.code, error.billing, error.retryable) == ("timeout", "pool_exhausted", "none", False)
    release.set()
    assert await first == b"{}"
    assert len(server.requests) == 1


async def test_closing_ends_running_calls_with_an_error_at_once(server, transport):
    """A reader in the middle of a stream, a call without an answer yet, and a stream held by its consumer."""
    server.will(
        stream([b"data: 1\n\n"], end=False).then(Stall()),
        stream([b"data: 1\n\n"], end=False).then(Stall()),
        script(Stall()),
    )
    reading = await transport.send(STREAM, limits())
    await anext(reading.chunks())
    reader = asyncio.create_task(anext(reading.chunks()))
    held = await transport.send(STREAM, limits())
    await anext(held.chunks())
    waiting = asyncio.create_task(transport.send(POST, limits()))
    await server.wait_for_requests(3)

    await asyncio.wait_for(transport.close(), 10)
    for task in (reader, waiting, asyncio.ensure_future(anext(held.chunks()))):
        with pytest.raises(ProviderError) as caught:
            await task
        assert (
            caught.value.type,
            caught.value.code,
            caught.value.retryable,
        ) == ("network_error", "transport_closed", False)
    for connection in server.connections:
        await asyncio.wait_for(connection.ended.wait(), 10)


async def test_a_closed_transport_refuses_calls_and_may_be_closed_again(server, transport):
    await transport.close()
    await transport.close()
    assert (await failed(transport)).code == "transport_closed"
    assert server.connections == []


async def test_a_dropped_answer_is_reclaimed_with_a_warning_that_names_the_call(server, open_transport):
    """Forgetting to close a stream costs a warning, not a connection of the pool for ever."""
    transport = open_transport(server.url, max_connections=1)
    server.will(stream([b"data: 1\n\n"], end=False).then(Stall()), answer(b"{}"))
    reply = await transport.send(STREAM, limits())
    await anext(reply.chunks())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del reply
        gc.collect()
    assert [part for part in ("POST /chat",) if any(part in str(one.message) for one in seen)] == ["POST /chat"]
    assert await call(transport) == b"{}"


async def test_another_event_loop_gets_a_clear_error(server, transport):
    server.will(answer(b"{}"))
    await call(transport)

    def elsewhere() -> ProviderError:
        with pytest.raises(ProviderError) as caught:
            asyncio.run(call(transport))
        return caught.value

    error = await asyncio.to_thread(elsewhere)
    assert (error.code, error.retryable) == ("wrong_loop", False)
    assert "event loop" in str(error)


async def test_a_forked_child_gets_a_clear_error(server, transport, monkeypatch):
    """Sockets that two processes share would mix their answers."""
    server.will(answer(b"{}"))
    await call(transport)
    with monkeypatch.context() as patch:
        patch.setattr("core.llm.transport.http.os.getpid", lambda: -1)
        error = await failed(transport)
    assert error.code == "wrong_loop"
    assert "forked" in str(error)


async def test_making_a_transport_opens_nothing(no_leaks):
    """Providers are built outside an event loop; a transport that was never used needs no close."""
    transport = await asyncio.to_thread(HttpTransport, HttpOptions("http://127.0.0.1:1"))
    assert "0 live" in repr(transport)


async def test_many_calls_at_once_share_few_connections(no_leaks):
    async with WireServer() as server:
        server.otherwise(answer(b"{}"))
        transport = HttpTransport(HttpOptions(server.url, max_connections=8))
        bodies = await asyncio.gather(*(call(transport) for _ in range(200)))
        await transport.close()
    assert bodies == [b"{}"] * 200
    assert len(server.connections) <= 8
