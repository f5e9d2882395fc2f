"""Lines that vouch for each other: each holds a digest of itself and of the one before. Pure.

With a key, nobody without it can rewrite the end of the file; without one, a changed line is found as long as any
later line, or the last digest, is known to be genuine.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

GENESIS: Final = "0" * 64
"""Stands for the line before the first one."""


def sealed(record: Mapping[str, Any], previous: str, key: bytes | None) -> tuple[str, str]:
    """The line for *record* after the line whose digest is *previous*, and its digest."""
    body = json.dumps({**record, "previous": previous}, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    # Half of a surrogate pair is no UTF-8; its escape is good JSON.
    body = body.encode("utf-8", "backslashreplace").decode()
    digest = _digest(body, key)
    return f'{body[:-1]},"seal":"{digest}"}}', digest


def _digest(body: str, key: bytes | None) -> str:
    data = body.encode()
    return hmac.new(key, data, hashlib.sha256).hexdigest() if key else hashlib.sha256(data).hexdigest()


def _previous(body: str) -> object:
    """Which line *body* says it follows; `None` where it is a seal around something else."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found.get("previous") if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """What checking a file found."""

    lines: int
    """Lines that are genuine, from the first on."""
    problem: str | None = None
    """What is wrong with the line after them; `None` where all are genuine."""
    last: str = GENESIS
    """Digest of the last genuine line."""

    @property
    def intact(self) -> bool:
        """Whether every line is as it was written."""
        return self.problem is None


def check(lines: Iterable[str], key: bytes | None = None, previous: str = GENESIS) -> AuditCheck:
    """Follow the chain from behind the line with the digest *previous* to the first line that does not fit.

    A last line without an end is what a crash leaves behind; it is reported as such.
    """
    number = 0
    for line in lines:
        if not line.endswith("\n"):
            return AuditCheck(number, f"line {number + 1} was not written to its end", previous)
        body, found, seal = line.rstrip("\n").rpartition(',"seal":"')
        if not found or not hmac.compare_digest((_digest(body + "}", key) + '"}').encode(), seal.encode()):
            return AuditCheck(number, f"line {number + 1} was changed, or sealed with another key", previous)
        if _previous(body + "}") != previous:
            return AuditCheck(number, f"lines before line {number + 1} are missing or out of order", previous)
        previous, number = seal[:-2], number + 1
    return AuditCheck(number, None, previous)
