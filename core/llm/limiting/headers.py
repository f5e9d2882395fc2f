"""What a provider says in the headers of an answer about its limits: `x-ratelimit-remaining-tokens` and its like.

The names differ from vendor to vendor, but all are made of the same words. They are looked for once and then known.
Nonsense is no news: Azure says -1 where it means nothing.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_WORDS: Final[Mapping[str, str]] = {
    "requests": "requests",
    "tokens": "tokens",
    "input": "input_tokens",
    "prompt": "input_tokens",
    "output": "output_tokens",
    "completion": "output_tokens",
    "generated": "output_tokens",
}
_PERIODS: Final = frozenset({"minute", "day"})
_COUNT: Final = re.compile(r"[0-9]{1,15}")
_PIECE: Final = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)?")
_UNITS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGER_THAN_A_MINUTE: Final = 120.0
"""Seconds to the reset that no quota of a minute can take."""
_ALWAYS_UNTIL: Final = 8
_ONE_OF: Final = 64
"""After so many answers without a word of limits, one of so many is looked at."""


class Names(NamedTuple):
    """The headers of one limit, and what the configuration calls it."""

    minute: str
    """Empty where it is said to be for a day."""
    day: str
    """Empty where it is said to be for a minute."""
    limit: str
    remaining: str
    reset: str


class HeaderReader:
    """Reads the headers of one provider's answers. What is not needed is not looked at: this is done for every call."""

    __slots__ = ("_answers", "_daily", "_names")

    def __init__(self) -> None:
        self._names: tuple[Names, ...] = ()
        self._answers = 0
        self._daily: set[Names] = set()

    def names(self, headers: Mapping[str, str]) -> tuple[Names, ...]:
        """The limits that the provider tells of; the names in *headers* are in lower case."""
        if not self._names:
            self._answers += 1
            if self._answers <= _ALWAYS_UNTIL or self._answers % _ONE_OF == 0:
                self._names = tuple(filter(None, map(_names, headers)))
        return self._names

    def limit(self, names: Names, remaining: int, headers: Mapping[str, str]) -> int | None:
        """The limit of which *remaining* is left; `None` where the two make no sense together."""
        limit = count(headers.get(names.limit))
        return limit if limit and remaining <= limit else None

    def name(self, names: Names, headers: Mapping[str, str]) -> str:
        """What the configuration calls it, the period included.

        Groq counts requests by the day and calls them just requests; the time to their reset gives it away.
        """
        if not (names.minute and names.day):
            return names.minute or names.day
        if names not in self._daily and seconds_of(headers.get(names.reset, "")) > _LONGER_THAN_A_MINUTE:
            self._daily.add(names)
        return names.day if names in self._daily else names.minute


def _names(header: str) -> Names | None:
    """The three headers that belong together, found by the one that says what remains."""
    words = header.split("-")
    if "ratelimit" not in words or "remaining" not in words:
        return None
    rest = [word for word in words[1:] if word not in {"ratelimit", "remaining"}]
    if any(word not in _WORDS and word not in _PERIODS for word in rest):
        return None
    told = [_WORDS[word] for word in rest if word in _WORDS]
    if not told:
        return None
    what = next((one for one in told if one.endswith("put_tokens")), told[0])
    minute = "" if "day" in rest else f"{what}_per_minute"
    day = "" if "minute" in rest or what.endswith("put_tokens") else f"{what}_per_day"
    if not minute and not day:
        return None
    return Names(minute, day, header.replace("remaining", "limit"), header, header.replace("remaining", "reset"))


def count(text: str | None) -> int | None:
    """The number that *text* is; `None` for -1 and other nonsense."""
    return int(text) if text is not None and _COUNT.fullmatch(text) else None


def seconds_of(text: str) -> float:
    """Seconds of `6m0s`, `120ms` or `7.66`; zero where it is something else."""
    pieces = _PIECE.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        return 0.0
    return sum(float(number) * _UNITS[unit] for number, unit in pieces)
