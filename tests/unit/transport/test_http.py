"""What the HTTP transport sends, what it accepts, and what it refuses."""

import gzip
import zlib

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.wire import HttpCall
from core.llm.testing.wire_steps import Head, Send, answer, script, stream
from tests.unit.transport.conftest import POST, STREAM, limits


async def body_of(transport, call=POST) -> bytes:
    reply = await transport.send(call, limits())
    try:
        return await reply.read()
    finally:
        reply.close()


async def test_a_call_reaches_the_server_as_it_was_given(server, open_transport):
    """Method, base path, body and headers arrive; the provider's own headers are below those of the request."""
    server.will(answer(b'{"ok":true}'))
    transport = open_transport(server.url + "/v1/", headers=(("X-Team", "a"), ("X-Kind", "default")))
    body = await body_of(transport, HttpCall("POST", "/chat", b"{}", {"x-kind": "special"}))

    assert body == b'{"ok":true}'
    request = server.requests[0]
    assert (request.method, request.path, request.body) == ("POST", "/v1/chat", b"{}")
    assert (request.headers["x-team"], request.headers["x-kind"]) == ("a", "special")


async def test_calls_in_turn_keep_their_own_key_path_and_length(server, transport):
    """What is prepared once for calls that are alike is never sent with one that is not."""
    sent = [(path, key, body) for body in (b"{}", b"[1,2]", b"") for key in ("a", "b") for path in ("/x", "/y")]
    for path, key, body in sent:
        server.will(answer(b"{}"))
        await body_of(transport, HttpCall("POST", path, body, {"authorization": key}))
    server.will(answer(b"{}"))
    await body_of(transport, HttpCall("GET", "/x", headers={"authorization": "a"}, idempotent=True))

    *posts, get = server.requests
    assert [(one.path, one.headers["authorization"], one.body) for one in posts] == sent
    assert [one.headers["content-length"] for one in posts] == [str(len(body)) for _, _, body in sent]
    assert (get.method, "content-length" in get.headers) == ("GET", False)


async def test_an_encoded_path_segment_arrives_untouched(server, transport):
    """A model name that was percent-encoded by the provider is neither decoded nor encoded again."""
    server.will(answer(b"{}"))
    await body_of(transport, HttpCall("GET", "/models/a%2Fb%3Fx", idempotent=True))
    assert server.requests[0].path == "/models/a%2Fb%3Fx"


async def test_a_body_can_be_sent_in_pieces(server, transport):
    """A body that is produced while it is sent arrives whole."""

    async def pieces():
        yield b"abc"
        yield b"def"

    server.will(answer(b"{}"))
    await body_of(transport, HttpCall("POST", "/blobs", pieces()))
    assert server.requests[0].body == b"abcdef"


async def test_headers_are_found_by_lower_case_names_and_repeats_are_joined(server, transport):
    """Whoever reads headers need not know how the server spelled them, and sees that one came twice."""
    server.will(
        script(
            Send(
                b"HTTP/1.1 200 OK\r\nX-One: 1\r\nRetry-After: 1\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n",
                raw=True,
            )
        )
    )
    reply = await transport.send(POST, limits())
    reply.close()
    assert reply.headers["x-one"] == "1"
    assert reply.headers.get("retry-after") == "1, 2"
    assert list(reply.headers) == ["x-one", "retry-after", "content-length"]
    assert reply.headers.get("x-two") is None
    assert "x-one" in reply.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_error_that_names_the_target_host_only(server, transport, status):
    """Neither the key nor the prompt follows a redirect, and no address with a query gets into a message."""
    server.will(answer(b"", status, {"Location": "https://evil.example/steal?key=1"}))
    with pytest.raises(ProviderError) as caught:
        await transport.send(POST, limits())
    error = caught.value
    assert ("protocol", "redirect", status, "none", False) == (
        error.type,
        error.code,
        error.status_code,
        error.billing,
        error.retryable,
    )
    assert "evil.example" in str(error)
    assert "steal" not in str(error)
    assert len(server.requests) == 1


async def test_cookies_are_never_sent_back(server, open_transport):
    """What a server tells us to remember is forgotten."""
    transport = open_transport(server.url.replace("127.0.0.1", "localhost"))  # no library keeps cookies of an address
    server.will(answer(b"{}", headers={"Set-Cookie": "session=1"}), answer(b"{}"))
    await body_of(transport)
    await body_of(transport)
    assert "cookie" not in server.requests[1].headers


async def test_the_environment_has_no_say(server, transport, monkeypatch):
    """A proxy variable of the host's environment does not receive our keys."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.will(answer(b"{}"))
    assert await body_of(transport) == b"{}"


@pytest.mark.parametrize(
    ("name", "compressed"),
    [
        ("gzip", gzip.compress(b'{"a":1}')),
        ("deflate", zlib.compress(b'{"a":1}')),
        ("deflate", zlib.compress(b'{"a":1}', wbits=-15)),
    ],
    ids=["gzip", "deflate", "raw-deflate"],
)
async def test_compressed_json_is_read(server, transport, name, compressed):
    server.will(answer(compressed, headers={"Content-Encoding": name}))
    assert await body_of(transport) == b'{"a":1}'
    assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"


async def test_streams_ask_for_no_compression_and_read_it_all_the_same(server, transport):
    """A proxy that compresses a stream anyway does not break it."""
    packed = gzip.compress(b"data: 1\n\n")
    server.will(stream([packed], headers={"Content-Encoding": "gzip"}, slice=3))
    reply = await transport.send(STREAM, limits())
    assert b"".join([piece async for piece in reply.chunks()]) == b"data: 1\n\n"
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_a_truncated_compressed_body_is_an_error_not_a_prefix(server, transport):
    server.will(answer(gzip.compress(b'{"a":1}' * 100)[:-9], headers={"Content-Encoding": "gzip"}))
    with pytest.raises(ProviderError) as caught:
        await body_of(transport)
    assert (caught.value.type, caught.value.code) == ("protocol", "encoding")


async def test_an_encoding_nobody_asked_for_is_refused(server, transport):
    server.will(answer(b"\x0b\x00", headers={"Content-Encoding": "br"}))
    with pytest.raises(ProviderError) as caught:
        await body_of(transport)
    assert (caught.value.type, caught.value.code) == ("protocol", "encoding")


async def test_a_decompression_bomb_is_stopped_at_the_limit(server, open_transport):
    """A few kilobytes that stand for gigabytes are not unpacked."""
    transport = open_transport(server.url, max_response_bytes=1_000_000)
    server.will(answer(gzip.compress(b"0" * 50_000_000), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(ProviderError) as caught:
        await body_of(transport)
    assert (caught.value.type, caught.value.code, caught.value.retryable) == ("protocol", "too_large", False)


async def test_a_body_beyond_the_limit_is_cut(server, open_transport):
    transport = open_transport(server.url, max_response_bytes=100_000)
    server.will(answer(b"0" * 5_000_000))
    with pytest.raises(ProviderError) as caught:
        await body_of(transport)
    assert caught.value.code == "too_large"
    await server.connections[0].ended.wait()


async def test_a_stream_beyond_the_limit_is_cut(server, open_transport):
    transport = open_transport(server.url, max_stream_bytes=100_000)
    server.will(stream([b"0" * 10_000] * 100))
    reply = await transport.send(STREAM, limits())
    with pytest.raises(ProviderError) as caught:
        _ = [piece async for piece in reply.chunks()]
    assert caught.value.code == "too_large"


async def test_an_error_body_is_read_up_to_its_limit_only(server, transport):
    """The status of an error tells most; megabytes of explanation are not fetched."""
    server.will(answer(b"e" * 25_000_000, 500))
    reply = await transport.send(POST, limits())
    assert reply.status == 500
    assert await reply.read() == b"e" * 65536
    await server.connections[0].ended.wait()


async def test_an_error_body_that_breaks_off_still_tells_its_status(server, transport):
    server.will(script(Head(429, {"Retry-After": "3"}, "length", 100), Send(b"slow")))
    reply = await transport.send(POST, limits(idle=0.05))
    assert (reply.status, reply.headers["retry-after"], await reply.read()) == (429, "3", b"slow")


async def test_a_header_that_http_forbids_is_a_clear_error(transport):
    """A newline in a header never becomes a second header, nor an exception of another library."""
    with pytest.raises(ProviderError) as caught:
        await transport.send(HttpCall("POST", "/", b"", {"x": "a\r\nb: c"}), limits())
    assert (caught.value.type, caught.value.code, caught.value.billing) == ("invalid_request", "headers", "none")


async def test_options_and_transport_show_no_secret(open_transport):
    transport = open_transport("http://127.0.0.1:1", headers=(("api-key", "canary-a"),), proxy="http://u:canary-b@h:1")
    assert "canary" not in repr(transport) + repr(transport.options)
