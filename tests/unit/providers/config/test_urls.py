"""Which addresses requests may go to."""

import pytest

from core.llm.providers.config.urls import is_loopback, url_problem


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1", "http://localhost:11434", "http://127.0.0.1:8000/v1", "http://[::1]:11434",
        "http://10.0.0.5:8000/v1", "http://ollama", "https://xn--bcher-kva.example", "http://my_host:1", "https://host.", "http://host.docker.internal:1",
    ],
)  # fmt: skip
def test_s24_usual_addresses_are_fine(url: str) -> None:
    """S24: loopback, private networks and names of all kinds."""
    assert url_problem(url) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host", "http:// or https://"), ("file:///etc/passwd", "http:// or https://"), ("host:8000", "http:// or https://"),
        ("http://user:pw@host", "user name or password"), ("http://user@host", "user name or password"),
        ("http://host/v1?key=x", "query or fragment"), ("http://host/#x", "query or fragment"), ("http://host/?", "query or fragment"),
        ("http://", "names no host"), ("http://host:99999", "is not an address"), ("http://host:0", "port 0"),
        ("http://ho st", "spaces"), ("http://host\n", "spaces or control"), ("http://bücher.example", "not a valid host name"),
        ("http://169.254.169.254/latest", "link-local"), ("http://[fe80::1]", "link-local"), ("http://[fe80::1%25eth0]", "link-local"),
        ("http://metadata.google.internal", "metadata service"), ("http://0.0.0.0:11434", "address to listen on"), ("http://[::]", "address to listen on"),
        ("http://224.0.0.1", "multicast"), ("http://255.255.255.255", "reserved"), ("http://[::ffff:169.254.169.254]", "hides an IPv4"),
        ("http://2130706433", "unusual form"), ("http://0x7f000001", "unusual form"), ("http://127.1", "unusual form"), ("http://0177.0.0.1", "unusual form"),
    ],
)  # fmt: skip
def test_s24_addresses_that_are_never_meant_are_refused(url: str, said: str) -> None:
    """S24: schemes, credentials, metadata services and disguises."""
    problem = url_problem(url)
    assert problem is not None
    assert said in problem[0]


@pytest.mark.parametrize("url", ["http://10.0.0.5", "http://192.168.1.1", "http://172.16.0.1", "http://[fd00::1]"])
def test_s24_private_networks_need_permission_where_it_was_taken(url: str) -> None:
    """S24: `allow_private: false` is for hosts that take addresses from others."""
    assert url_problem(url) is None
    assert "private network" in (url_problem(url, allow_private=False) or ("",))[0]
    assert url_problem("http://127.0.0.1", allow_private=False) is None


def test_s23_loopback_is_this_machine_only() -> None:
    """S23: where a key may travel unencrypted."""
    assert all(map(is_loopback, ("http://localhost:1", "http://127.0.0.9", "http://[::1]", "http://a.localhost")))
    assert not any(map(is_loopback, ("http://localhost.example.com", "http://10.0.0.1", "http://128.0.0.1")))
