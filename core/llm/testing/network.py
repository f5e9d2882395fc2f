"""No test reaches the outside: connections and name lookups beyond this machine are refused with a clear error."""

import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_LOCAL_NAMES = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})


class NetworkForbidden(OSError):
    """A test tried to reach something outside this machine."""


@contextmanager
def forbid_network(*allowed: str) -> Iterator[list[str]]:
    """Refuse every connection, datagram and name lookup that leaves this machine, in all threads and event loops.

    Loopback addresses, `localhost`, names below `.localhost` and Unix sockets stay usable; *allowed* names further
    hosts. A name below `.invalid` fails as a name that does not exist. Child processes are not covered.

    Yields the list of what was refused, one sentence each: code under test may well swallow the error itself.
    """
    refused: list[str] = []

    def check(action: str, host: object) -> None:
        if _is_local(host) or host in allowed:
            return
        refused.append(f"a test tried to {action} {host!r}")
        raise NetworkForbidden(
            f"{refused[-1]}: only this machine may be reached. Point the code at a local server or at a scripted "
            "provider, or mark the test with @pytest.mark.allow_network('host')"
        )

    def guarded_method(name: str, action: str) -> Callable[..., Any]:
        real = getattr(socket.socket, name)

        def method(self: socket.socket, *args: Any) -> Any:
            address = args[-1]
            if self.family in {socket.AF_INET, socket.AF_INET6} and isinstance(address, tuple):
                check(action, address[0])
            return real(self, *args)

        return method

    def guarded_lookup(name: str) -> Callable[..., Any]:
        real = getattr(socket, name)

        def lookup(host: Any, *args: Any, **options: Any) -> Any:
            if _text(host).endswith(".invalid"):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            if _address(host) is None:  # reading an address is no traffic; connecting to it will be refused
                check("look up", host)
            return real(host, *args, **options)

        return lookup

    with ExitStack() as patches:
        for name, action in (("connect", "connect to"), ("connect_ex", "connect to"), ("sendto", "send to")):
            patches.callback(_replace(socket.socket, name, guarded_method(name, action)))
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
            patches.callback(_replace(socket, name, guarded_lookup(name)))
        yield refused


def _replace(owner: Any, name: str, replacement: Any) -> Callable[[], None]:
    inherited = name not in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, replacement)

    def undo() -> None:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    return undo


def _is_local(host: object) -> bool:
    text = _text(host)
    if text in _LOCAL_NAMES or text.endswith(".localhost"):
        return True
    address = _address(host)
    if address is None:
        return text == socket.gethostname().lower()
    mapped = getattr(address, "ipv4_mapped", None)
    # Connecting to the unspecified address reaches this machine.
    return (mapped or address).is_loopback or address.is_unspecified


def _address(host: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return None


def _text(host: object) -> str:
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    return text.lower().rstrip(".")
