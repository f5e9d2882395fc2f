"""How long a model stays in memory after a call, as people write it and as Ollama wants it.

On the wire a number is seconds and a string is a Go duration; a string without a unit is refused by the server.
"""

import math
import re
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from core.llm.common.units import parse_duration

_GO_DURATION: Final = re.compile(r"[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")


def checked_keep_alive(value: float | str) -> float | str:
    """*value* as it may be sent; a string of digits becomes the number it means.

    Raises:
        ValueError: it is neither a number nor a Go duration.
    """
    if isinstance(value, str):
        text = value.strip()
        if _GO_DURATION.fullmatch(text) and text.lstrip("+-") != "0":
            return text
        try:
            value = float(text)
        except ValueError:
            raise ValueError("keep_alive is a number of seconds or a duration such as 5m, 1h30m or -1m") from None
    if not math.isfinite(value):
        raise ValueError("keep_alive must be a finite number of seconds; a negative one keeps the model for ever")
    return int(value) if float(value).is_integer() else value


def _configured(value: object) -> object:
    if isinstance(value, str) and value.strip().lower() in {"never", "immediate"}:
        return value.strip().lower()
    text = value.strip() if isinstance(value, str) else value
    negative = (isinstance(text, str) and text.startswith("-")) or (
        isinstance(text, int | float) and not isinstance(text, bool) and text < 0
    )
    if negative:
        parse_duration(text.lstrip("-") if isinstance(text, str) else text)
        return "never"
    seconds = parse_duration(value)
    return "immediate" if seconds == 0 else seconds


ConfiguredKeepAlive = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["never", "immediate"],
    BeforeValidator(_configured),
    WithJsonSchema({"type": ["string", "number"], "examples": ["5m", "1h", "never", "immediate"]}),
]
"""Seconds, `never` (the model stays until someone unloads it) or `immediate` (it goes right after the call)."""


def keep_alive_to_wire(value: float | str | None) -> int | str | None:
    """What is sent for a configured value; `None` is not sent.

    Ollama cuts the fraction off a number, so anything but whole seconds goes as a duration in milliseconds.
    """
    if value is None:
        return None
    if value == "never":
        return -1
    if value == "immediate":
        return 0
    seconds = float(value)
    return int(seconds) if seconds.is_integer() else f"{math.ceil(seconds * 1000)}ms"
