"""Waits that grow with each failure. Pure."""

from typing import Final

_ENOUGH: Final = 64
"""Doubled so often, a second outlasts the world. A float is full after 1024 times, which is days of failures."""


def doubled(first: float, times: int, longest: float) -> float:
    """*first* seconds, doubled so many *times*; at most *longest*."""
    return min(longest, first * 2.0 ** min(times, _ENOUGH))
