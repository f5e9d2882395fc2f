"""What a `WireServer` does with a connection or a request: steps, each one thing that can happen on a wire."""

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Framing = Literal["length", "chunked", "close"]
"""How the end of a body is told: by Content-Length, by chunks, or by closing the connection."""


@dataclass(frozen=True, slots=True)
class Head:
    """Send the status line and headers; `framing` decides what later `Send` and `End` steps write.

    `length` is what Content-Length claims; the truth unless the script lies.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: Framing = "chunked"
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes: as body in the framing of the head, or untouched with `raw`.

    `slice` cuts them into pieces of that many bytes, `gap` waits so many seconds after each piece.
    """

    data: bytes
    slice: int | None = None
    gap: float = 0.0
    raw: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """End the body as its framing says; the connection stays open unless the framing is `close`."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Send nothing for so many seconds; `None` is until the peer or the test ends the connection."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Fin:
    """Close the connection in order, after what was sent has left."""


@dataclass(frozen=True, slots=True)
class Rst:
    """Reset the connection: the peer gets an error instead of an end."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Send so many random bytes, the same for the same seed."""

    size: int = 256
    seed: int = 0

    @property
    def data(self) -> bytes:
        """The bytes."""
        return random.Random(self.seed).randbytes(self.size)


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Go on once the test has set *event*."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Announce:
    """Set *event*, so that the test knows how far the script has come."""

    event: asyncio.Event


Step = Head | Send | End | Stall | Fin | Rst | Garbage | WaitFor | Announce


@dataclass(frozen=True, slots=True)
class WireScript:
    """Steps for one request, or for one connection before its first request."""

    steps: tuple[Step, ...]
    read_body: bool = True
    """Whether the body of the request is read before the first step."""

    def then(self, *steps: Step) -> "WireScript":
        """The same script with further steps."""
        return WireScript((*self.steps, *steps), self.read_body)


def script(*steps: Step, read_body: bool = True) -> WireScript:
    """A script of *steps*."""
    return WireScript(steps, read_body)


def answer(body: bytes | str, status: int = 200, headers: Mapping[str, str] | None = None) -> WireScript:
    """A complete answer of known length, JSON unless *headers* say otherwise."""
    data = body.encode() if isinstance(body, str) else body
    fields = {"Content-Type": "application/json", **(headers or {})}
    return WireScript((Head(status, fields, "length", len(data)), Send(data), End()))


def stream(
    frames: Iterable[bytes],
    *,
    content_type: str = "text/event-stream",
    framing: Framing = "chunked",
    headers: Mapping[str, str] | None = None,
    slice: int | None = None,  # noqa: A002 - the name of the step's field
    gap: float = 0.0,
    end: bool = True,
) -> WireScript:
    """A streamed answer, one `Send` per frame; `gap` seconds after each. `end=False` leaves the body open."""
    fields = {"Content-Type": content_type, **(headers or {})}
    sends = tuple(Send(frame, slice, gap) for frame in frames)
    return WireScript((Head(200, fields, framing), *sends, *((End(),) if end else ())))
