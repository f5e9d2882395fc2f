"""The wire server does to a connection exactly what its script says, and remembers what it saw."""

import asyncio
import json
import subprocess
import sys

import pytest

from core.llm.testing.wire_dialects import ollama_stream, openai_stream, pieces_of
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import (
    Announce,
    Fin,
    Garbage,
    Head,
    Rst,
    Send,
    Stall,
    WaitFor,
    answer,
    script,
    stream,
)
from core.llm.testing.wire_tls import certificate

REQUEST = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
async def server(no_leaks):
    async with WireServer() as server:
        yield server


async def exchange(server, data: bytes = REQUEST) -> bytes:
    """Everything the server sends in return for *data*, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_an_answer_is_sent_byte_for_byte(server):
    server.will(answer(b'{"a":1}', 201, {"X-Id": "7"}).then(Fin()))
    head, _, body = (await exchange(server)).partition(b"\r\n\r\n")
    assert body == b'{"a":1}'
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 201 Scripted",
        b"Content-Type: application/json",
        b"X-Id: 7",
        b"Content-Length: 7",
    ]


async def test_frames_are_chunks_with_a_proper_end(server):
    server.will(stream([b"abc", b"de"]).then(Fin()))
    assert (await exchange(server)).endswith(b"\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")


async def test_a_body_without_framing_ends_with_the_connection(server):
    server.will(stream([b"abc"], framing="close"))
    sent = await exchange(server)
    assert sent.endswith(b"\r\n\r\nabc")
    assert b"Content-Length" not in sent


async def test_scripts_are_taken_in_order_then_the_default(server):
    """Conditions come first, then the queue, then the default; several requests share a connection."""
    server.when(lambda request: request.path == "/tags", answer(b"tags").then(Fin()))
    server.will(answer(b"one"))
    server.otherwise(answer(b"rest"))
    sent = await exchange(server, REQUEST + REQUEST + REQUEST.replace(b"/chat", b"/tags"))
    assert [piece.split(b"HTTP")[0] for piece in sent.split(b"\r\n\r\n")[1:]] == [b"one", b"rest", b"tags"]
    assert [(request.nth, request.connection.number) for request in server.requests] == [(1, 1), (2, 1), (3, 1)]


async def test_scripts_nobody_came_for_can_be_dropped(server):
    server.will(answer(b"old"))
    server.forget()
    server.will(answer(b"new").then(Fin()))
    assert (await exchange(server)).endswith(b"new")


async def test_what_a_client_does_not_take_piles_up_visibly(server):
    server.will(script(Send(b"x" * 30_000_000, raw=True), Stall()))
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(REQUEST)
    await server.wait_for_requests(1)
    await asyncio.sleep(0.05)
    assert server.unsent_bytes > 10_000_000
    writer.close()
    await server.connections[0].ended.wait()
    assert server.unsent_bytes == 0


async def test_a_request_without_a_script_says_so(server):
    sent = await exchange(server, REQUEST + b"garbled\r\n\r\n")
    assert b"no script" in sent
    assert b"500" in sent


async def test_requests_are_recorded_whole(server):
    """Method, path, headers, body (chunked ones too) and the number of bytes sent in return."""
    server.will(answer(b"ok").then(Fin()))
    data = await exchange(
        server, b"PUT /a?b=1 HTTP/1.1\r\nX-Y:  z \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    request = server.requests[0]
    assert (request.method, request.path, request.headers["x-y"], request.body) == ("PUT", "/a?b=1", "z", b"abc")
    assert request.sent == len(data)
    assert request.at >= request.connection.accepted_at


async def test_a_reset_is_a_reset_and_an_end_is_an_end(server):
    server.will(script(Send(b"x", raw=True), Stall(0.01), Rst()), script(Send(b"x", raw=True), Fin()))
    with pytest.raises(ConnectionResetError):
        await exchange(server)
    assert await exchange(server) == b"x"
    assert [connection.peer_closed_at for connection in server.connections] == [None, None]


async def test_the_moment_at_which_the_peer_hangs_up_is_known(server):
    """Also in the middle of a stall, which then ends."""
    reached = asyncio.Event()
    server.will(script(Head(), Announce(reached), Stall()))
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(REQUEST)
    await reached.wait()
    assert server.open_connections == 1
    writer.close()
    await writer.wait_closed()
    await asyncio.wait_for(server.connections[0].ended.wait(), 30)
    assert server.connections[0].peer_closed_at is not None
    assert server.open_connections == 0


async def test_steps_before_the_first_request(server):
    """A connection can be refused, delayed or insulted before anything is read from it."""
    server.on_connect(script(Garbage(10, seed=1), Fin()), None, script(Stall(0.02)))
    server.otherwise(answer(b"ok").then(Fin()))
    assert await exchange(server, b"") == Garbage(10, seed=1).data
    assert (await exchange(server)).endswith(b"ok")
    assert (await exchange(server)).endswith(b"ok")


async def test_pieces_leave_one_by_one(server):
    """Slices arrive as separate reads when there is a gap between them."""
    server.will(script(Send(b"abcdef", slice=2, gap=0.02, raw=True), Fin()))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(REQUEST)
    assert [await reader.read(100) for _ in range(4)] == [b"ab", b"cd", b"ef", b""]
    writer.close()
    await writer.wait_closed()


async def test_a_test_can_hold_a_script(server):
    go = asyncio.Event()
    server.will(script(WaitFor(go), Send(b"x", raw=True), Fin()))
    task = asyncio.create_task(exchange(server))
    await server.wait_for_requests(1)
    assert not task.done()
    go.set()
    assert await task == b"x"


async def test_waiting_for_requests_that_do_not_come_ends(server):
    with pytest.raises(TimeoutError):
        await server.wait_for_requests(1, timeout=0.02)


async def test_a_stop_in_the_middle_leaves_nothing(no_leaks):
    """Stalled and held scripts are cut; stopping twice does no harm."""
    async with WireServer() as server:
        server.will(script(Head(), Stall()), script(WaitFor(asyncio.Event())))
        tasks = [asyncio.create_task(exchange(server)) for _ in range(2)]
        await server.wait_for_requests(2)
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.port


async def test_tls_with_a_certificate_of_its_own(no_leaks, tmp_path):
    import ssl

    made = certificate()
    async with WireServer(tls=made.context) as server:
        server.will(answer(b"ok").then(Fin()))
        client = ssl.create_default_context(cadata=made.authority.decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=client)
        writer.write(REQUEST)
        assert (await reader.read()).endswith(b"ok")
        writer.close()
        assert server.url.startswith("https://")


def test_streams_spell_the_text_and_count_it():
    """The oracle knows the truth: the pieces add up to the text, and the usage to the pieces."""
    text = "one two  three"
    assert "".join(pieces_of(text)) == text
    chunks = [json.loads(frame[6:]) for frame in openai_stream(text)[:-1]]
    assert "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]) == text
    assert chunks[-1]["usage"]["completion_tokens"] == len(pieces_of(text))
    lines = [json.loads(line) for line in ollama_stream(text)]
    assert "".join(line["message"]["content"] for line in lines) == text
    assert lines[-1]["eval_count"] == len(pieces_of(text))


def test_it_needs_no_http_library():
    """A host that tests against the wire server pays for asyncio only."""
    code = "import sys, core.llm.testing.wire_server; assert 'aiohttp' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
