"""Durations and sizes as people write them: `5m`, `1h30m`, `250ms`, `20GiB`."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PIECE: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_BYTES: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")


def parse_duration(value: object) -> float:
    """Seconds of a duration such as `5m`, `1h30m`, `250ms`; a bare number is seconds.

    Raises:
        ValueError: it is not a duration.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        text = value.strip().replace(" ", "")
        if _DURATION.fullmatch(text):
            return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PIECE.findall(text))
        try:
            return float(text)
        except ValueError:
            pass
    raise ValueError("write a duration with its unit, such as 250ms, 30s, 5m or 1h30m")


def parse_size(value: object) -> int:
    """Bytes of a size such as `20GiB` or `500MB`; a bare number is bytes.

    Raises:
        ValueError: it is not a size.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        factor = _BYTES.get(match[2].lower())
        if factor is not None:
            return int(float(match[1]) * factor)
    raise ValueError("write a size with its unit, such as 500MB, 20GiB or 64KiB")


def format_duration(seconds: float) -> str:
    """*seconds* as `parse_duration` reads them: `1h30m`, `250ms`."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    parts, rest = [], seconds
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, _SECONDS[unit])
        parts += [f"{count:g}{unit}"] if count else []
    return "".join([*parts, *([f"{rest:g}s"] if rest else [])])


def format_size(size: int) -> str:
    """*size* as `parse_size` reads it, in the largest unit that divides it."""
    unit = next((unit for unit in ("TiB", "GiB", "MiB", "KiB") if size and size % _BYTES[unit.lower()] == 0), "B")
    return f"{size // _BYTES[unit.lower()]}{unit}"


# A week is far beyond any sensible wait; more is a slip of the unit.
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0, le=7 * 86400, allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*(\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+$|^\s*\d+(\.\d+)?\s*$"},
                {"type": "number", "exclusiveMinimum": 0, "maximum": 7 * 86400},
            ],
            "examples": ["30s", "5m", "1h30m"],
        }
    ),
]
"""Seconds, written as `30s`, `5m`, `250ms`; greater than zero, at most a week."""

_LARGEST: Final = 2**50

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(gt=0, le=_LARGEST),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([kKmMgGtT]?[bB]|[kKmMgGtT][iI][bB])?\s*$"},
                {"type": "integer", "minimum": 1, "maximum": _LARGEST},
            ],
            "examples": ["20GiB", "500MB"],
        }
    ),
]
"""Bytes, written as `20GiB`, `500MB`; greater than zero, at most 1024 TiB."""
