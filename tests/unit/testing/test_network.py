"""The network guard: this machine is reachable, nothing else is, and nobody can miss it."""

import asyncio
import socket

import pytest

from core.llm.testing import NetworkForbidden, forbid_network

# From the range reserved for documentation: belongs to nobody.
OUTSIDE = "192.0.2.1"


async def test_a_local_server_can_be_reached():
    """Real servers on this machine are what the tests run against."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with forbid_network() as refused:
        for host in ("127.0.0.1", "localhost"):
            reader, writer = await asyncio.open_connection(host, port)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
    server.close()
    await server.wait_closed()

    assert refused == []


@pytest.mark.parametrize("host", [OUTSIDE, "2001:db8::1", "api.openai.com", "::ffff:192.0.2.1"])
async def test_asyncio_cannot_connect_outside(host, no_network):
    """Neither by address nor by name, and the error says what to do."""
    with forbid_network() as refused, pytest.raises(NetworkForbidden, match="local server or at a scripted provider"):
        await asyncio.open_connection(host, 443)

    assert len(refused) == 1
    assert host in refused[0]


def test_plain_sockets_cannot_connect_outside():
    """Code without an event loop is guarded as well."""
    with forbid_network() as refused:
        with socket.socket() as stream, pytest.raises(NetworkForbidden):
            stream.connect((OUTSIDE, 80))
        with socket.socket() as stream, pytest.raises(NetworkForbidden):
            stream.connect_ex((OUTSIDE, 80))
        with socket.socket(type=socket.SOCK_DGRAM) as datagram, pytest.raises(NetworkForbidden):
            datagram.sendto(b"x", (OUTSIDE, 53))

    assert len(refused) == 3


async def test_names_cannot_be_looked_up():
    """A lookup is traffic too."""
    with forbid_network() as refused:
        with pytest.raises(NetworkForbidden, match=r"look up 'example\.com'"):
            socket.getaddrinfo("example.com", 80)
        with pytest.raises(NetworkForbidden):
            await asyncio.get_running_loop().getaddrinfo("example.com", 80)
        assert socket.getaddrinfo("localhost", 80)

    assert len(refused) == 2


def test_a_name_that_cannot_exist_does_not_exist():
    """Tests of failed lookups need no name server."""
    with forbid_network() as refused, pytest.raises(socket.gaierror, match="not known"):
        socket.getaddrinfo("no-such-host.invalid", 80)

    assert refused == []


def test_hosts_can_be_allowed(monkeypatch):
    """An integration test may name the one host it is about."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: f"{host}:{port}")
    with forbid_network("api.example") as refused:
        assert socket.getaddrinfo("api.example", 443) == "api.example:443"
        with pytest.raises(NetworkForbidden):
            socket.getaddrinfo("other.example", 443)

    assert refused == ["a test tried to look up 'other.example'"]


def test_unix_sockets_are_local(tmp_path):
    """A path is never outside."""
    with forbid_network() as refused, socket.socket(socket.AF_UNIX) as stream, pytest.raises(FileNotFoundError):
        stream.connect(str(tmp_path / "nobody"))

    assert refused == []


def test_everything_is_put_back():
    """After the block the socket module is as it was."""
    before = (socket.socket.connect, socket.getaddrinfo, "connect" in vars(socket.socket))
    with forbid_network():
        assert socket.getaddrinfo is not before[1]

    assert (socket.socket.connect, socket.getaddrinfo, "connect" in vars(socket.socket)) == before
