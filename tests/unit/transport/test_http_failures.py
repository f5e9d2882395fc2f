"""What is left of a request that failed: the whole error, no connection, and a task as it was before."""

import asyncio
import gzip

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.wire import HttpCall
from core.llm.testing.wire_steps import Head, Stall, answer, script
from tests.unit.transport.conftest import POST, STREAM, limits, nothing_live


async def test_a_timeout_leaves_no_cancellation_on_the_task(server, transport):
    """We end a request by cancelling its task; a timeout of the caller's own must still be told from a cancellation."""
    server.will(script(Stall()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as mine:
            with pytest.raises(ProviderError):
                await transport.send(STREAM, limits(first_token=0.05))
            assert asyncio.current_task().cancelling() == 0
            mine.reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(20)


async def test_a_compressed_error_is_read_like_any_other(server, transport):
    """Its words say what is wrong, and decide what is done about it."""
    told = b'{"error": {"message": "context too long"}}'
    server.will(answer(gzip.compress(told), 400, headers={"Content-Encoding": "gzip"}))
    reply = await transport.send(POST, limits())
    assert (reply.status, await reply.read()) == (400, told)
    reply.close()


async def test_an_error_in_an_unknown_encoding_keeps_its_status(server, transport):
    """A rate limit stays one, with the wait that its head asks for, although nobody can read its words."""
    server.will(answer(b"\x0b\x00", 429, headers={"Content-Encoding": "br", "Retry-After": "3"}))
    reply = await transport.send(POST, limits())
    assert (reply.status, reply.headers["retry-after"], await reply.read()) == (429, "3", b"")
    reply.close()
    await nothing_live(transport)


@pytest.mark.parametrize("status", [101, 302])
async def test_an_answer_that_is_refused_by_its_head_is_cut(server, transport, status):
    """Nobody will read its body: neither the connection nor a timer waits for it."""
    head = {"Location": "https://elsewhere.test/", "Connection": "upgrade", "Upgrade": "websocket"}
    server.will(script(Head(status, head, "length", 100), Stall()))
    with pytest.raises(ProviderError) as caught:
        await transport.send(POST, limits())
    assert (caught.value.type, caught.value.status_code) == ("protocol", status)
    await asyncio.wait_for(server.connections[0].ended.wait(), 10)
    await nothing_live(transport)


async def test_a_large_body_is_sent_with_the_headers_of_its_call(server, open_transport):
    """Written in pieces it takes another way; its key and its type go with it all the same."""
    transport = open_transport(server.url, headers=(("X-Kind", "default"), ("X-Team", "a")))
    server.will(answer(b"{}"))
    body = b"x" * 3_000_000
    headers = {"Authorization": "Bearer k", "Content-Type": "application/json", "X-Kind": "special"}
    reply = await transport.send(HttpCall("POST", "/chat", body, headers), limits())
    reply.close()
    request = server.requests[0]
    assert request.body == body
    sent = [request.headers[name] for name in ("authorization", "content-type", "x-kind", "x-team")]
    assert sent == ["Bearer k", "application/json", "special", "a"]
