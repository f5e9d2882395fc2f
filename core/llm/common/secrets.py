"""Keeping secrets out of texts: masking known values, recognising likely ones, fingerprints instead of prefixes."""

import hashlib
import hmac
import re
import secrets as random_secrets
from typing import Final

MASK: Final = "***"

# What API keys of the known vendors look like, plus bearer tokens and keys in query strings.
_LIKELY: Final = re.compile(
    # Where a word begins (`task-oriented` is none), or behind an escape of JSON or of a URL.
    r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))(?:sk|pk|rk|gsk|xai|hf|pplx|r8|nvapi|csk|key)[-_][A-Za-z0-9_\-*+/=]{8,}(?:\.[A-Za-z0-9_\-*+/=]+)*"
    r"|AIza[A-Za-z0-9_\-]{20,}"
    r"|A(?:KIA|SIA)[A-Z0-9]{12,}"
    r"|eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}(?:\.[A-Za-z0-9_\-]+)?"
    r"|(?<=[?&]key=)[^&\s\"']+"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=\-]{6,}"
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x80-\x9f\u2028\u2029]")
# One random key per process: a fingerprint tells keys apart in one log, and nothing about the key to anyone else.
_FINGERPRINT_KEY: Final = random_secrets.token_bytes(16)


def redact(text: str, *known: str) -> str:
    """*text* without the *known* secrets and without anything that looks like one."""
    # The longest first: where one secret begins like another, no tail is left.
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= 4:
            text = text.replace(secret, MASK)
    return _LIKELY.sub(MASK, text)


def one_line(text: str, limit: int = 300) -> str:
    """*text* safe for a log line: control characters escaped, cut at *limit* characters."""
    if not text.isprintable():
        text = _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def fingerprint(secret: str) -> str:
    """Eight hexadecimal digits that identify *secret* within this process, and say nothing about it."""
    return hmac.new(_FINGERPRINT_KEY, secret.encode(), hashlib.sha256).hexdigest()[:8]
