"""No test reaches the outside: connections and name lookups beyond this machine are refused with a clear error."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_LOCAL_NAMES = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})


class NetworkForbidden(OSError):
    """A test tried to reach something outside this machine."""


@contextmanager
def forbid_network(*allowed: str) -> Iterator[None]:
    """Refuse every connection, datagram and name lookup that leaves this machine, in all threads and event loops.

    Loopback addresses, `localhost`, names below `.localhost` and Unix sockets stay usable. *allowed* names further
    hosts. Child processes are not covered.
    """

    def refuse(what: str, host: object) -> None:
        if not _is_local(host) and host not in allowed:
            raise NetworkForbidden(
                f"a test tried to {what} {host!r}: only this machine may be reached. Point the code at a local server "
                "or at a scripted provider, or mark the test with @pytest.mark.allow_network('host')"
            )

    def guard_socket(name: str, position: int) -> Callable[..., Any]:
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, *args: Any) -> Any:
            address = args[position] if len(args) > abs(position) or position < 0 else None
            if self.family in {socket.AF_INET, socket.AF_INET6} and isinstance(address, tuple):
                refuse("connect to" if name.startswith("connect") else "send to", address[0])
            return real(self, *args)

        return guarded

    def guard_lookup(module: Any, name: str) -> Callable[..., Any]:
        real = getattr(module, name)

        def guarded(host: Any, *args: Any, **options: Any) -> Any:
            refuse("look up", host)
            return real(host, *args, **options)

        return guarded

    async def guarded_sock_connect(self: Any, sock: socket.socket, address: Any) -> None:
        if sock.family in {socket.AF_INET, socket.AF_INET6} and isinstance(address, tuple):
            refuse("connect to", address[0])
        await real_sock_connect(self, sock, address)

    # A C-level event loop may call connect without going through the method of the Python class.
    loop_class = asyncio.SelectorEventLoop
    real_sock_connect = loop_class.sock_connect
    patches: list[tuple[Any, str, Any]] = [
        (socket.socket, "connect", guard_socket("connect", 0)),
        (socket.socket, "connect_ex", guard_socket("connect_ex", 0)),
        (socket.socket, "sendto", guard_socket("sendto", -1)),
        (socket, "getaddrinfo", guard_lookup(socket, "getaddrinfo")),
        (socket, "gethostbyname", guard_lookup(socket, "gethostbyname")),
        (socket, "gethostbyname_ex", guard_lookup(socket, "gethostbyname_ex")),
        (loop_class, "sock_connect", guarded_sock_connect),
    ]
    undo: list[Callable[[], None]] = []
    try:
        for owner, name, replacement in patches:
            undo.append(_replace(owner, name, replacement))
        yield
    finally:
        for step in reversed(undo):
            step()


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
    if host is None:
        return True
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    text = text.lower().rstrip(".").partition("%")[0]
    if text in _LOCAL_NAMES or text.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text == socket.gethostname().lower()
    mapped = getattr(address, "ipv4_mapped", None)
    # Connecting to the unspecified address reaches this machine.
    return (mapped or address).is_loopback or address.is_unspecified
