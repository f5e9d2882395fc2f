"""Ports of 127.0.0.1 that stay the test's own while nobody listens on them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_port() -> Iterator[int]:
    """A port that refuses connections until somebody who knows its number listens there.

    It is bound all the while, so the system gives it to no other test's server; one that is merely looked up and let
    go of may be answering for somebody else a moment later.
    """
    with socket.socket() as holder:
        # Both sides have to say so, and asyncio's servers do: a port that is bound can then be listened on once more.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
