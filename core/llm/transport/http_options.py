"""What a connection pool is made from. Equal options share one pool, also across a reload."""

from dataclasses import dataclass, field
from typing import Final

MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Everything that makes one pool of HTTP connections different from another; hashable, and quiet about secrets."""

    base_url: str
    """Already checked by `core.llm.transport.base_url`; a trailing slash does not matter."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Sent with every request, below the headers of the request itself."""
    proxy: str | None = field(default=None, repr=False)
    """URL of an HTTP proxy; may hold a name and a password."""
    ca_file: str | None = None
    """PEM file of the certificate authorities to trust instead of the system's."""
    max_connections: int = 512
    max_response_bytes: int = 64 * MIB
    """Upper bound of a whole answer that is not a stream, after decompression."""
    max_stream_bytes: int = 256 * MIB
    """Upper bound of everything one stream sends."""
    max_error_bytes: int = 64 * 1024
    """How much of the body of an error is read; the rest is never fetched."""
    max_header_bytes: int = 64 * 1024
    """Upper bound of one response header."""
    keepalive: float = 30.0
    """Seconds an idle connection is kept for the next request."""
