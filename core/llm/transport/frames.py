"""Messages between a host and its worker process: four bytes of length, then one JSON object.

Nothing is ever unpickled, and a length beyond the cap is refused before a byte of it is stored.
"""

import socket
from typing import Any, Final

from pydantic_core import PydanticSerializationError, from_json, to_json

MAX_FRAME: Final = 64 * 2**20
"""Largest message in bytes, both ways."""
_HEADER: Final = 4


class FrameError(Exception):
    """What arrived is not a message, or what was to be sent cannot be one."""


def encode_frame(message: dict[str, Any]) -> bytes:
    """*message* as it goes over the wire.

    Raises:
        FrameError: it is larger than the cap, or holds something that is not JSON (a lone surrogate, an object).
    """
    try:
        body = to_json(message)
    except (PydanticSerializationError, UnicodeError, ValueError) as error:
        raise FrameError(f"a message to or from a worker is not JSON: {type(error).__name__}") from None
    if len(body) > MAX_FRAME:
        raise FrameError(f"a message of {len(body)} bytes is over the limit of {MAX_FRAME} bytes")
    return len(body).to_bytes(_HEADER) + body


class FrameReader:
    """Puts messages together from pieces of any size; holds at most one incomplete message."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a message that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[tuple[dict[str, Any], int]]:
        """The messages completed by *data*, each with its size in bytes.

        Raises:
            FrameError: the bytes are no message. The connection cannot be used any further.
        """
        buffer = self._buffer
        buffer += data
        messages: list[tuple[dict[str, Any], int]] = []
        position = 0
        while len(buffer) - position >= _HEADER:
            start = position + _HEADER
            size = _checked(int.from_bytes(buffer[position:start]))
            if len(buffer) - start < size:
                break
            position = start + size
            messages.append((_decode(bytes(buffer[start:position])), size))
        del buffer[:position]
        return messages


def read_frame(connection: socket.socket) -> dict[str, Any] | None:
    """The next message of a blocking socket; `None` at its end.

    Raises:
        FrameError: the bytes are no message, or the stream ends inside one.
    """
    header = _read(connection, _HEADER)
    if not header:
        return None
    if len(header) == _HEADER:
        size = _checked(int.from_bytes(header))
        body = _read(connection, size)
        if len(body) == size:
            return _decode(bytes(body))
    raise FrameError("the connection ended inside a message")


def _checked(size: int) -> int:
    if not 2 <= size <= MAX_FRAME:
        raise FrameError(f"a message says it is {size} bytes long; 2 to {MAX_FRAME} are allowed")
    return size


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = from_json(body)
    except ValueError:
        raise FrameError("a message is not JSON") from None
    if not isinstance(message, dict):
        raise FrameError("a message is not a JSON object")
    return message


def _read(connection: socket.socket, size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(min(size - len(data), 1 << 20))
        if not piece:
            break
        data += piece
    return data
