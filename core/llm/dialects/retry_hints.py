"""How long a provider asks us to wait, read from whatever it sent. Pure and total: nonsense is no hint.

Precedence: `retry-after-ms`, `retry-after` in seconds, `retry-after` as a date (against the answer's own `Date`, so a
wrong local clock does no harm), a delay in the body, and last the reset time of the rate-limit dimension that
is used up.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

_NUMBER: Final = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,9})?")
_PIECE: Final = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,9})?)(ms|us|µs|ns|s|m|h|d)")
_DURATION: Final = re.compile(rf"(?:{_PIECE.pattern})+")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_EPOCH: Final = re.compile(r"[0-9]{10}(?:[0-9]{3})?")
_IN_TEXT: Final = re.compile(
    r"(?:(?:try again|retry|retrying) (?:in|after)|please wait) "
    rf"((?:{_PIECE.pattern})+|[0-9]{{1,7}}(?:\.[0-9]{{1,9}})?(?= ?sec))",
    re.IGNORECASE,
)
_LONGEST: Final = 10_000_000.0


def retry_after(headers: Mapping[str, str], body: object = None) -> float | None:
    """Seconds to wait before the next try, or `None` where nothing usable was said.

    *headers* have lower-case names; *body* is the decoded error body, if it was JSON.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds:
        return milliseconds / 1000
    told = headers.get("retry-after")
    if told is not None:
        seconds = _number(told) or _until(told, headers)
        if seconds:
            return seconds
    return _from_body(body) or _from_limits(headers)


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What `x-should-retry` says; it wins over the status."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def _number(text: object) -> float | None:
    """A plain positive decimal number; signs, exponents, words and digits of other scripts are no number."""
    if not isinstance(text, str) or not _NUMBER.fullmatch(text.strip(" \t")):
        return None
    return float(text) or None


def _duration(text: str) -> float | None:
    if _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(text))
        return seconds if 0 < seconds < _LONGEST else None
    return None


def _until(text: str, headers: Mapping[str, str]) -> float | None:
    """Seconds from the moment the answer was sent, by the provider's own clock, to the date in *text*."""
    sent = _moment(headers.get("date", ""))
    then = _moment(text)
    if sent is None or then is None:
        return None
    seconds = then - sent
    return seconds if 0 < seconds < _LONGEST else None


def _moment(text: str) -> float | None:
    text = text.strip()
    try:
        if _EPOCH.fullmatch(text):
            return int(text) / (1000 if len(text) == 13 else 1)
        when = (
            datetime.fromisoformat(text) if text[:4].isascii() and text[:4].isdigit() else parsedate_to_datetime(text)
        )
        return when.timestamp() if when.tzinfo is not None else None
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None


def _from_body(body: object) -> float | None:
    for error in _errors(body):
        details = error.get("details")
        if isinstance(details, list):
            for detail in details:
                delay = detail.get("retryDelay") if isinstance(detail, dict) else None
                if isinstance(delay, str) and (seconds := _duration(delay.strip())):
                    return seconds
        for key in ("retry_after", "retry_after_seconds"):
            told = error.get(key)
            if isinstance(told, int | float) and not isinstance(told, bool) and 0 < told < _LONGEST:
                return float(told)
        message = error.get("message")
        if isinstance(message, str) and (match := _IN_TEXT.search(message[:2000])):
            return _duration(match[1]) or _number(match[1])
    return None


def _errors(body: object) -> Iterator[dict[str, Any]]:
    """The objects of an error body that may hold a delay: itself, its `error`, that one's `metadata`."""
    if isinstance(body, list):
        body = body[0] if body else None
    for _ in range(3):
        if not isinstance(body, dict):
            return
        yield body
        body = body.get("error", body.get("metadata"))


def _from_limits(headers: Mapping[str, str]) -> float | None:
    """The reset time of the dimension with nothing left; of those that do not say, where none says so."""
    exhausted: list[float] = []
    unknown: list[float] = []
    for name, value in headers.items():
        if "ratelimit" not in name or "reset" not in name:
            continue
        if headers.get(name.replace("reset", "limit"), "").startswith("-"):
            continue
        text = value.strip()
        seconds = _number(text) or _duration(text) or _until(text, headers)
        if seconds is None:
            continue
        remaining = headers.get(name.replace("reset", "remaining"))
        if remaining is None:
            unknown.append(seconds)
        elif remaining.strip() in {"0", "0.0"}:
            exhausted.append(seconds)
    return max(exhausted or unknown, default=None)
