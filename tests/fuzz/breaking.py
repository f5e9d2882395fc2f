"""Ways to break a frame: its bytes, or what its JSON says."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

_BYTES = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n\r\n", b"\n\n", b"data:", b"data: [DONE]\n\n", b"event: error\n",
    b":", b"{", b"}", b"[" * 300, b'"', b"\\u", b"\\ud800", b"\xc3", b"null", b"1e999", b"NaN", b"<html>", b"id: \x00\n",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, 1e308, "", "x", "\ud800", "\x00", "text" * 50, [], {}, [None], [[]], [{}],
    {"": None}, {"error": {}}, {"error": "no"}, [[[[[[]]]]]], {"type": "text"}, {"index": -1}, "NaN", "1e999", "error",
)  # fmt: skip


def broken(data: bytes, rng: random.Random) -> bytes:
    """*data* with one to four small damages."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(6):
            case 0:
                out[at : at + rng.randint(1, 8)] = b""
            case 1:
                out[at:at] = rng.choice(_BYTES)
            case 2:
                out[at:at] = rng.randbytes(rng.randint(1, 8))
            case 3:
                end = min(len(out), at + rng.randint(1, 40))
                out[end:end] = out[at:end]
            case 4:
                del out[at:]
            case _ if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
    return bytes(out)


def misshapen(text: bytes, rng: random.Random) -> bytes:
    """JSON that is still JSON, but says something else somewhere; *text* where it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    for _ in range(rng.randint(1, 3)):
        places: list[tuple[Any, Any]] = []
        _collect(value, places)
        if not places:
            break
        holder, key = rng.choice(places)
        if isinstance(holder, dict) and rng.random() < 0.25:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(rng.choice(_VALUES))
    return json.dumps(value).encode()


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        places.append((value, key))
        _collect(value[key], places)


def pieces(data: bytes, rng: random.Random) -> list[bytes]:
    """*data* as the network may cut it."""
    if not data or rng.random() < 0.3:
        return [data]
    if len(data) < 400 and rng.random() < 0.1:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(rng.randrange(len(data)) for _ in range(rng.randint(1, 4)))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def damaged(frame: bytes, body: bytes, wrap: Callable[[bytes], bytes], rng: random.Random) -> bytes:
    """*frame* broken in its bytes, or wrapped around a *body* that says something else."""
    draw = rng.random()
    if draw < 0.1:
        return frame
    return broken(frame, rng) if draw < 0.5 else wrap(misshapen(body, rng))
