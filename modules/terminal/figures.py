"""Sizes, times, counts and prices as people read them, and text that cannot drive the terminal."""

import re
from typing import Final

from core.llm import Price

# What a model or a server sends is not ours to trust: it must not move the cursor, change the title of the window, or
# turn the order of the letters around.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SIZES: Final = ("B", "kB", "MB", "GB", "TB")


def printable(text: str) -> str:
    """*text* without characters that control a terminal; tabs and line feeds stay."""
    return _CONTROL.sub("", text)


def one_line(text: str) -> str:
    """*text* on one line."""
    return printable(" ".join(text.split()))


def shortened(text: str, width: int) -> str:
    """*text* in at most *width* columns."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def size(number: float) -> str:
    """Bytes, such as `4.7 GB`."""
    for unit in _SIZES:
        if number < 999.5 or unit == _SIZES[-1]:
            break
        number /= 1000
    return f"{number:.1f} {unit}" if number < 9.95 and unit != "B" else f"{number:.0f} {unit}"


def span(seconds: float) -> str:
    """A time, such as `1 m 08 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} m"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def tokens(number: int) -> str:
    """A context length, such as `128k`."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.0f}k" if number < 999_500 else f"{number / 1e6:.1f}M".replace(".0M", "M")


def price(found: Price) -> str:
    """Input and output, per million tokens."""
    if not found.input and not found.output:
        return "free"
    return f"{found.input.normalize():f} / {found.output.normalize():f}"
