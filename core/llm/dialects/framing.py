"""Cutting a byte stream into events: server-sent events and newline-delimited JSON, whatever the chunk boundaries.

Both splitters work on bytes, so a character cut in two never matters, and keep at most one unfinished event.
"""

from typing import Final

from core.llm.common.exceptions import ProviderError

MAX_EVENT_BYTES: Final = 16 * 2**20
MAX_STREAM_BYTES: Final = 256 * 2**20

_BOM: Final = b"\xef\xbb\xbf"


class SSESplitter:
    """The event-stream format of the WHATWG: CR, LF and CRLF, comments, several data lines, a byte order mark."""

    __slots__ = ("_after_cr", "_begun", "_max_event", "_rest", "_scanned", "_total")

    def __init__(self, max_event: int = MAX_EVENT_BYTES) -> None:
        self._rest = bytearray()
        self._scanned = 0
        self._after_cr = False
        self._begun = False
        self._total = 0
        self._max_event = max_event

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The events that *data* completes, each as (event name or empty, data).

        Raises:
            ProviderError: `protocol`, code `too_large`: an event or the whole stream is beyond its limit.
        """
        self._total += len(data)
        if self._total > MAX_STREAM_BYTES:
            raise _too_large("the stream", MAX_STREAM_BYTES)
        if self._after_cr or b"\r" in data:
            data = self._without_cr(data)
        if not self._begun:
            data = self._without_bom(data)
        rest = self._rest
        if rest:
            # A blank line may straddle the boundary, hence one byte back; what was searched is not searched again.
            rest += data
            end = rest.rfind(b"\n\n", max(self._scanned - 1, 0))
            if end < 0:
                self._keep(len(rest))
                return []
            whole = bytes(rest[:end])
            del rest[: end + 2]
        else:
            end = data.rfind(b"\n\n")
            if end < 0:
                rest += data
                self._keep(len(rest))
                return []
            whole = data[:end]
            rest += data[end + 2 :]
        self._keep(len(rest))
        events: list[tuple[bytes, bytes]] = []
        for block in whole.split(b"\n\n"):
            head, newline, tail = block.partition(b"\n")
            if not newline and block.startswith(b"data: "):
                events.append((b"", block[6:]))
            elif head.startswith(b"event: ") and tail.startswith(b"data: ") and b"\n" not in tail:
                events.append((head[7:], tail[6:]))
            elif block:
                _parse_block(block, events)
        return events

    @property
    def rest(self) -> bytes:
        """What has arrived of an event that is not complete; by the standard it is discarded at the end of the body."""
        return bytes(self._rest)

    def _keep(self, length: int) -> None:
        self._scanned = length
        if length > self._max_event:
            raise _too_large("one event", self._max_event)

    def _without_cr(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _without_bom(self, data: bytes) -> bytes:
        head = bytes(self._rest) + data
        if len(head) < 3 and _BOM.startswith(head):
            self._rest[:] = b""
            self._rest += head
            return b""
        self._begun = True
        self._rest.clear()
        return head[3:] if head.startswith(_BOM) else head


def last_event(rest: bytes) -> list[tuple[bytes, bytes]]:
    """The event in what is left at the end of a body, where its blank line never came; by the standard it is none."""
    events: list[tuple[bytes, bytes]] = []
    _parse_block(rest, events)
    return events


def _parse_block(block: bytes, events: list[tuple[bytes, bytes]]) -> None:
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    if data:
        events.append((name, b"\n".join(data)))


class LineSplitter:
    """Newline-delimited texts; empty lines are skipped."""

    __slots__ = ("_max_event", "_rest", "_total")

    def __init__(self, max_event: int = MAX_EVENT_BYTES) -> None:
        self._rest = bytearray()
        self._total = 0
        self._max_event = max_event

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that *data* completes, without their ends.

        Raises:
            ProviderError: `protocol`, code `too_large`: a line or the whole stream is beyond its limit.
        """
        self._total += len(data)
        if self._total > MAX_STREAM_BYTES:
            raise _too_large("the stream", MAX_STREAM_BYTES)
        rest = self._rest
        end = data.rfind(b"\n")
        if end < 0:
            rest += data
            if len(rest) > self._max_event:
                raise _too_large("one line", self._max_event)
            return []
        whole = bytes(rest) + data[:end] if rest else data[:end]
        rest[:] = data[end + 1 :]
        if len(rest) > self._max_event:
            raise _too_large("one line", self._max_event)
        return [line for raw in whole.split(b"\n") if (line := raw.strip())]

    def end(self) -> list[bytes]:
        """The last line, where the body ended without a newline."""
        line = bytes(self._rest).strip()
        self._rest.clear()
        return [line] if line else []


def _too_large(what: str, limit: int) -> ProviderError:
    return ProviderError(
        "protocol",
        f"{what} is larger than {limit} bytes",
        code="too_large",
        retryable=False,
        billing="ambiguous",
    )
