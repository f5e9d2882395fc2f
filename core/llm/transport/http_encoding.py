"""Content encodings of answers, undone within a size limit.

aiohttp's own decompression takes a truncated stream for a complete one and has no limit; this does neither.
"""

import zlib
from typing import Final

from core.llm.common.exceptions import ProviderError

ACCEPTED: Final = "gzip, deflate"
"""What is asked for where the answer is not a stream."""


class Inflater:
    """Undoes gzip or deflate piece by piece."""

    __slots__ = ("_limit", "_size", "_stream", "_where")

    def __init__(self, limit: int, where: str, *, gzip: bool) -> None:
        self._stream = zlib.decompressobj(wbits=31) if gzip else None
        self._limit = limit
        self._size = 0
        self._where = where

    def feed(self, data: bytes) -> bytes:
        """The bytes that *data* stands for.

        Raises:
            ProviderError: it is corrupt (`encoding`), or larger than the limit once decompressed (`too_large`).
        """
        if self._stream is None:
            # "deflate" is zlib by the book and raw in the wild; the first byte tells.
            self._stream = zlib.decompressobj(wbits=15 if data[0] & 0x0F == 8 else -15)
        try:
            plain = self._stream.decompress(data, self._limit - self._size + 1)
        except zlib.error:
            plain = None
        if plain is None or self._stream.unused_data:
            raise ProviderError(
                "protocol", f"the compressed answer of {self._where} is corrupt", code="encoding", billing="ambiguous"
            )
        self._size += len(plain)
        if self._size > self._limit:
            raise too_large(self._where, self._limit)
        return plain

    def end(self) -> None:
        """The body has ended.

        Raises:
            ProviderError: the compressed data has not.
        """
        if self._stream is None or not self._stream.eof:
            raise ProviderError(
                "protocol", f"the compressed answer of {self._where} is cut off", code="encoding", billing="ambiguous"
            )


def inflater(encoding: str | None, limit: int, where: str) -> Inflater | None:
    """What undoes *encoding*, or `None` where nothing needs undoing.

    Raises:
        ProviderError: we cannot read it, and did not ask for it.
    """
    name = encoding.strip().lower() if encoding else "identity"
    if name == "identity":
        return None
    if name in {"gzip", "x-gzip", "deflate"}:
        return Inflater(limit, where, gzip=name != "deflate")
    raise ProviderError(
        "protocol", f"{where} answered in an encoding that was not asked for", code="encoding", billing="ambiguous"
    )


def too_large(where: str, limit: int) -> ProviderError:
    """The answer is beyond *limit* bytes."""
    return ProviderError(
        "protocol",
        f"the answer of {where} is larger than {limit} bytes; raise max_response_bytes if that is expected",
        code="too_large",
        retryable=False,
        billing="ambiguous",
    )
