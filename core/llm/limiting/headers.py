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


class Reading(NamedTuple):
    """One limit as the provider sees it."""

    name: str
    """As it is called in the configuration."""
    limit: int
    remaining: int


class _Names(NamedTuple):
    what: str
    period: str
    limit: str
    remaining: str
    reset: str


class HeaderReader:
    """Reads the headers of one provider's answers."""

    __slots__ = ("_answers", "_daily", "_names")

    def __init__(self) -> None:
        self._names: tuple[_Names, ...] = ()
        self._answers = 0
        self._daily: set[str] = set()

    def read(self, headers: Mapping[str, str]) -> list[Reading]:
        """The limits that *headers* tell of; their names are in lower case. Total: what cannot be read is left out."""
        if not self._names:
            self._answers += 1
            if self._answers > _ALWAYS_UNTIL and self._answers % _ONE_OF:
                return []
            self._names = tuple(filter(None, map(_names, headers)))
        found = []
        for names in self._names:
            limit, remaining = _count(headers.get(names.limit)), _count(headers.get(names.remaining))
            if limit is None or remaining is None or not 0 <= remaining <= limit or limit == 0:
                continue
            period = names.period or self._period(names, headers)
            found.append(Reading(f"{names.what}_per_{period}", limit, remaining))
        return found

    def _period(self, names: _Names, headers: Mapping[str, str]) -> str:
        """Groq counts requests by the day and calls them just requests; the time to their reset gives it away."""
        if seconds_of(headers.get(names.reset, "")) > _LONGER_THAN_A_MINUTE:
            self._daily.add(names.remaining)
        return "day" if names.remaining in self._daily else "minute"


def _names(header: str) -> _Names | None:
    """The three headers that belong together, found by the one that says what remains."""
    words = header.split("-")
    if "ratelimit" not in words or "remaining" not in words:
        return None
    rest = [word for word in words[1:] if word not in {"ratelimit", "remaining"}]
    if not rest or any(word not in _WORDS and word not in _PERIODS for word in rest):
        return None
    told = [_WORDS[word] for word in rest if word in _WORDS]
    what = next((one for one in told if one.endswith("put_tokens")), told[0] if told else "")
    period = next((word for word in rest if word in _PERIODS), "")
    if not what or (what.endswith("put_tokens") and period == "day"):
        return None
    return _Names(what, period, header.replace("remaining", "limit"), header, header.replace("remaining", "reset"))


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and _COUNT.fullmatch(text) else None


def seconds_of(text: str) -> float:
    """Seconds of `6m0s`, `120ms` or `7.66`; zero where it is something else."""
    pieces = _PIECE.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        return 0.0
    return sum(float(number) * _UNITS[unit] for number, unit in pieces)
