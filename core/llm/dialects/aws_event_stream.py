"""The binary event stream of AWS (`application/vnd.amazon.eventstream`): frames with lengths and two checksums.

    total length | length of headers | CRC of these 8 bytes | headers | payload | CRC of everything before
          4      |         4         |          4           |         |         |        4

Lengths are believed only once their checksum holds and they are within the limits, so nothing is set aside for a frame
that merely claims to be large.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID
from zlib import crc32

from core.llm.common.exceptions import ProviderError

HeaderValue = bool | int | bytes | str | datetime | UUID

MAX_FRAME_BYTES: Final = 24 * 2**20
MAX_HEADER_BYTES: Final = 128 * 2**10
MAX_STREAM_BYTES: Final = 256 * 2**20

_PRELUDE: Final = struct.Struct(">III")
_OVERHEAD: Final = 16
_REMEMBERED: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS: Final = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q")}


@dataclass(frozen=True, slots=True)
class EventFrame:
    """One message of the stream."""

    headers: Mapping[str, HeaderValue]
    """By name, such as `:event-type`; shared between frames whose headers are equal."""
    payload: bytes

    def word(self, name: str) -> str:
        """The header *name* where it is a text, else an empty string."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class EventStreamSplitter:
    """Cuts bytes into frames, whatever the chunk boundaries. Keeps at most one unfinished frame."""

    __slots__ = ("_headers", "_needed", "_rest", "_total")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = _PRELUDE.size
        self._total = 0
        # Most frames of a stream carry the very same headers.
        self._headers: dict[bytes, Mapping[str, HeaderValue]] = {}

    @property
    def rest(self) -> bytes:
        """What has arrived of a frame that is not complete."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> Iterator[EventFrame]:
        """The frames that *data* completes. What precedes a broken frame is given out before the error.

        Raises:
            ProviderError: `protocol`, code `checksum`, `too_large` or `headers`; nothing can be read after that.
        """
        self._total += len(data)
        if self._total > MAX_STREAM_BYTES:
            raise _broken(f"the stream is larger than {MAX_STREAM_BYTES} bytes", "too_large", retryable=False)
        rest = self._rest
        rest += data
        start, end = 0, len(rest)
        try:
            while end - start >= self._needed:
                total, headers_length, checksum = _PRELUDE.unpack_from(rest, start)
                if self._needed == _PRELUDE.size:
                    self._needed = _checked_length(bytes(rest[start : start + 8]), total, headers_length, checksum)
                    if end - start < total:
                        break
                frame = bytes(rest[start : start + total])
                start += total
                self._needed = _PRELUDE.size
                yield self._frame(frame, headers_length)
        finally:
            del rest[:start]

    def _frame(self, frame: bytes, headers_length: int) -> EventFrame:
        if crc32(frame[:-4]) != int.from_bytes(frame[-4:], "big"):
            raise _broken("a frame was changed on its way: its checksum is wrong", "checksum")
        begin = _PRELUDE.size
        block = frame[begin : begin + headers_length]
        headers = self._headers.get(block)
        if headers is None:
            headers = _read_headers(block)
            if len(self._headers) < _REMEMBERED:
                self._headers[block] = headers
        return EventFrame(headers, frame[begin + headers_length : -4])


def _checked_length(prelude: bytes, total: int, headers_length: int, checksum: int) -> int:
    if crc32(prelude) != checksum:
        raise _broken(
            "this is no event stream of AWS, or it was changed: the checksum of a prelude is wrong", "checksum"
        )
    if total > MAX_FRAME_BYTES or headers_length > MAX_HEADER_BYTES:
        raise _broken(
            f"a frame claims {total} bytes, {headers_length} of them headers; the limits are {MAX_FRAME_BYTES} and "
            f"{MAX_HEADER_BYTES}",
            "too_large",
            retryable=False,
        )
    if total < _OVERHEAD + headers_length:
        raise _broken(f"a frame of {total} bytes claims {headers_length} bytes of headers", "headers")
    return total


def _read_headers(block: bytes) -> Mapping[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            length = block[at]
            name = _slice(block, at + 1, length).decode()
            at += 1 + length
            kind = block[at]
            value, at = _value(block, at + 1, kind)
            if not name or name in headers:
                raise ValueError
            headers[name] = value
    except (IndexError, ValueError, OverflowError, struct.error):
        raise _broken("a frame's headers cannot be read", "headers") from None
    return headers


def _value(block: bytes, at: int, kind: int) -> tuple[HeaderValue, int]:
    """The value of type *kind* at *at*, and where the next header begins."""
    if kind in {0, 1}:
        return kind == 0, at
    number = _NUMBERS.get(kind)
    if number is not None:
        value: int = number.unpack_from(block, at)[0]
        return value, at + number.size
    if kind in {6, 7}:
        length = int.from_bytes(_slice(block, at, 2), "big")
        raw = _slice(block, at + 2, length)
        return (raw if kind == 6 else raw.decode()), at + 2 + length
    if kind == 8:
        milliseconds: int = struct.unpack_from(">q", block, at)[0]
        return _EPOCH + timedelta(milliseconds=milliseconds), at + 8
    if kind == 9:
        return UUID(bytes=_slice(block, at, 16)), at + 16
    raise ValueError


def _slice(block: bytes, at: int, length: int) -> bytes:
    found = block[at : at + length]
    if len(found) != length:
        raise ValueError
    return found


def _broken(detail: str, code: str, *, retryable: bool = True) -> ProviderError:
    return ProviderError("protocol", detail, code=code, retryable=retryable, billing="ambiguous")
