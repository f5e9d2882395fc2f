"""What an error answer stands for: its body in any of the shapes in use, and its place in our taxonomy.

The provider's own words are kept, on one line and without anything that looks like a key. Classification looks at the
code first, then at the status, and at the wording only where codes are known to be missing or wrong.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from core.llm.common.exceptions import ErrorScope, ErrorType, ProviderError
from core.llm.common.secrets import MASK, one_line, redact
from core.llm.common.types import Billing
from core.llm.dialects.json import parse_json
from core.llm.dialects.retry_hints import retry_after, should_retry

MAX_ERROR_BYTES: Final = 64 * 2**10


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The parts of an error body that anyone agrees on."""

    message: str = ""
    code: str | None = None
    kind: str | None = None
    """The provider's own type, such as `invalid_request_error`."""
    status: int | None = None
    """A status inside the body; the only one there is when the error came in the middle of a stream."""
    value: object = None
    """The decoded body, for whoever looks for more."""


_BY_CODE: Final[dict[str, ErrorType]] = {
    **dict.fromkeys(
        ("context_length_exceeded", "exceed_context_size_error", "tokens_limit_reached"), "context_length"
    ),
    **dict.fromkeys(
        (
            "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance",
            "insufficient_user_quota", "quota_exceeded", "quotaexceeded", "arrearage", "payment_required",
            "insufficient_credits", "billing_error", "exceeded_current_quota_error",
        ),
        "quota_exceeded",
    ),
    **dict.fromkeys(
        ("invalid_api_key", "wrong_api_key", "authentication_error", "invalid_authentication", "unauthorized",
         "api_key_invalid", "expired_api_key"),
        "authentication",
    ),
    **dict.fromkeys(
        ("content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked",
         "data_inspection_failed", "datainspectionfailed", "content_filter_error"),
        "content_filter",
    ),
    **dict.fromkeys(
        ("model_not_found", "modelnotfound", "deploymentnotfound", "invalid_model", "unknown_model", "unknownmodel",
         "model_decommissioned", "model_not_available", "model_not_supported", "model_terms_required"),
        "model_not_found",
    ),
    **dict.fromkeys(
        ("overloaded", "overloaded_error", "engine_overloaded", "engine_overloaded_error", "unavailable_error",
         "service_unavailable", "service_unavailable_error", "server_overloaded", "slow_down",
         "insufficient_system_resource", "capacity_exceeded"),
        "overloaded",
    ),
}  # fmt: skip
"""Codes and types that mean the same whatever the status."""

_BY_KIND: Final[dict[str, ErrorType]] = {
    "invalid_request_error": "invalid_request",
    "bad_request": "invalid_request",
    "badrequesterror": "invalid_request",
    "invalid_request": "invalid_request",
    "request_too_large": "invalid_request",
    "tool_use_failed": "invalid_request",
    "permission_error": "permission",
    "permission_denied": "permission",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "rate_limited": "rate_limit",
    "ratelimitreached": "rate_limit",
    "too_many_requests": "rate_limit",
    "resource_exhausted": "rate_limit",
    "tokens": "rate_limit",
    "requests": "rate_limit",
    "not_found_error": "model_not_found",
    "timeout": "timeout",
    "timeout_error": "timeout",
    "request_timeout": "timeout",
}
"""Codes and types that decide only where there is no status to go by."""

_CONTEXT: Final = re.compile(
    r"context.{0,12}(length|window|size|limit)|prompt (is )?too long|input (is )?too long|too many (input )?tokens"
    r"|maximum (number of|allowed) tokens|exceeds? the (model's )?max(imum)?[ _](input|model|context)"
    r"|reduce the length of the|maximum (prompt|input) length|prompt exceeds max|model token limit"
    r"|range of input length|max_tokens[^.]{0,30}got -|`inputs`[^.]{0,40}must"
    r"|'(messages|input|prompt)\b[^']{0,80}': string too long",
    re.IGNORECASE,
)
_QUOTA: Final = re.compile(
    r"insufficient (balance|quota|credit|funds)|exceeded your current quota|credit balance|out of credits"
    r"|more credits|billing (hard )?limit|monthly (spend|usage) limit|used all available credits|any credits"
    r"|credits are depleted|spending limit|pay past invoices|specified api usage limits|free tier[^.]{0,40}exhausted"
    r"|models-per-day|api calls / month",
    re.IGNORECASE,
)
_KEY: Final = re.compile(
    r"(incorrect|invalid|wrong|missing|expired) api[ _-]?key|api[ _-]?key (is )?(not valid|invalid)"
    r"|api key was reported as leaked|unregistered callers",
    re.IGNORECASE,
)
_MODEL: Final = re.compile(
    r"model\b.{0,120}?\b(not found|not exist|does not exist|is not a valid|not available|not supported by)"
    r"|(invalid|unknown|unsupported|no such) model|not a valid model",
    re.IGNORECASE,
)
_FILTER: Final = re.compile(
    r"content management policy|flagged (as|by|for)|content (policy|filter)|usage guidelines|sensitive content"
    r"|blocked by content filter",
    re.IGNORECASE,
)
_CAPACITY: Final = re.compile(r"overloaded|at capacity|over capacity|currently unavailable|no capacity", re.IGNORECASE)
_CRASHED: Final = re.compile(r"model has crashed", re.IGNORECASE)
_NEVER_FITS: Final = re.compile(r"request too large", re.IGNORECASE)
# An echoed credential need not look like one: whatever follows the words is taken out.
_ECHOED_KEY: Final = re.compile(r"(api[ _-]?key(?: provided)?(?: is)?:\s*|bearer )[^\s,;]*[^\s,;.]", re.IGNORECASE)

_ADVICE: Final[dict[str, str]] = {
    "authentication": "Check this provider's api_key.",
    "permission": "The key is valid but may not do this.",
    "quota_exceeded": "Waiting does not help: check plan and billing, or use another key.",
    "model_not_found": "Check the model's name and the provider's base_url.",
    "context_length": "Shorten the messages or use a model with a larger context window.",
}
_WHAT: Final[dict[str, str]] = {
    "authentication": "the credential was refused",
    "permission": "access was denied",
    "rate_limit": "rate limited",
    "quota_exceeded": "the quota is used up",
    "invalid_request": "the request was refused",
    "context_length": "the request does not fit the model's context",
    "model_not_found": "no such model or address",
    "content_filter": "blocked by the provider's content filter",
    "server_error": "the provider failed",
    "overloaded": "the provider is overloaded",
    "timeout": "the provider timed out",
    "unknown": "the provider reported an error",
}


def http_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error of an answer with *status* 300 or more."""
    if status < 400:
        return _redirect(status, headers)
    parsed = read_error(body)
    return classify(parsed, status=status, headers=headers)


def classify(
    body: ErrorBody, *, status: int | None = None, headers: Mapping[str, str] | None = None, billing: Billing = "none"
) -> ProviderError:
    """The error that *body* stands for; *status* is `None` where it came inside an answer that had begun well."""
    headers = headers or {}
    effective = status if status is not None else body.status
    words = {word.lower() for word in (body.code, body.kind) if word}
    kind = _type_of(effective, words, body.message)
    retryable: bool | None = None
    scope: ErrorScope | None = None
    hint = None
    if kind == "rate_limit" and _NEVER_FITS.search(body.message):
        retryable, scope = False, "request"
    elif kind in {"rate_limit", "quota_exceeded", "overloaded", "server_error", "timeout"}:
        hint = retry_after(headers, body.value)
    told = should_retry(headers)
    code = body.code or body.kind
    if effective == 413 and code is None:
        code = "too_large"
    text = clean(body.message)
    advice = _ADVICE.get(kind, "")
    message = ". ".join(
        part.rstrip(". ") for part in (f"{_WHAT[kind]}: {text}" if text else _WHAT[kind], advice) if part
    )
    return ProviderError(
        kind,
        message,
        code=one_line(code, 80) if code else None,
        status_code=effective,
        retryable=retryable if told is None else told,
        retry_after=hint,
        scope=scope,
        request_id=request_id(headers),
        billing=billing,
    )


def read_error(body: bytes) -> ErrorBody:
    """The common parts of an error body: JSON in any known shape, plain text, or nothing. Total."""
    body = body[:MAX_ERROR_BYTES]
    try:
        value = parse_json(body)
    except ProviderError:
        return ErrorBody(_plain(body))
    return error_of(value)


def error_of(value: object) -> ErrorBody:
    """The common parts of a decoded error body. Total."""
    outer = value[0] if isinstance(value, list) and value else value
    if isinstance(outer, str):
        return ErrorBody(outer, value=value)
    if not isinstance(outer, dict):
        return ErrorBody(value=value)
    inner = outer.get("error")
    fields: dict[str, Any] = {**outer, **inner} if isinstance(inner, dict) else outer
    message = _message(inner) if isinstance(inner, str | dict) else ""
    message = message or _message(outer)
    metadata = fields.get("metadata")
    if isinstance(metadata, dict) and isinstance(raw := metadata.get("raw"), str) and raw:
        message = f"{message}: {raw}"
    code = _word(fields.get("code"))
    if isinstance(inner, str) and code is not None and " " in code:
        code = None
    return ErrorBody(message, code, _word(fields.get("type")), _status(fields), value)


def is_error(value: Mapping[str, Any]) -> bool:
    """True for a decoded answer that is an error although its status was good."""
    return bool(value.get("error")) or value.get("object") == "error"


def clean(text: str) -> str:
    """*text* of a provider, fit for a message: one line, bounded, without echoed keys."""
    return one_line(redact(_ECHOED_KEY.sub(rf"\g<1>{MASK}", text[:4000])).strip())


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's own id of the request, where it sent one."""
    for name in ("x-request-id", "request-id", "apim-request-id", "x-ms-request-id", "cf-ray"):
        value = headers.get(name)
        if value:
            return one_line(value, 100)
    return None


def _type_of(status: int | None, words: set[str], message: str) -> ErrorType:
    if status in {None, 400, 413, 422, 500} and _CONTEXT.search(message):
        return "context_length"
    for word in sorted(words):
        if word in _BY_CODE:
            return _BY_CODE[word]
    if status == 402 or (status in {400, 403, 412, 429, None} and _QUOTA.search(message)):
        return "quota_exceeded"
    if status is not None:
        return _type_of_status(status, words, message)
    for word in sorted(words):
        if word in _BY_KIND:
            return _BY_KIND[word]
    return "overloaded" if _CAPACITY.search(message) else "server_error"


def _type_of_status(status: int, words: set[str], message: str) -> ErrorType:
    match status:
        case 401:
            return "permission" if "permissiondenied" in words else "authentication"
        case 403 if _KEY.search(message):
            return "authentication"
        case 403:
            return "content_filter" if _FILTER.search(message) else "permission"
        case 404:
            return "model_not_found"
        case 408:
            return "timeout"
        case 429:
            return "rate_limit"
        case 413 if not words.isdisjoint({"rate_limit_exceeded", "tokens"}):
            return "rate_limit"
        case 409 | 424 | 425 | 499:
            return "server_error"
        case 498 | 503 | 529:
            return "overloaded"
        case _ if status >= 500:
            return "overloaded" if _CAPACITY.search(message) else "server_error"
    if _KEY.search(message):
        return "authentication"
    if _MODEL.search(message):
        return "model_not_found"
    if _FILTER.search(message):
        return "content_filter"
    return "server_error" if _CRASHED.search(message) else "invalid_request"


def _message(value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    for key in ("message", "detail", "error", "error_message", "msg", "reason"):
        found = value.get(key)
        if isinstance(found, str) and found:
            return found
        if isinstance(found, list) and found:
            return "; ".join(filter(None, map(_message, found[:5])))
        if isinstance(found, dict) and (text := _message(found)):
            return text
    return ""


def _word(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
        return str(value)
    return None


def _status(fields: Mapping[str, Any]) -> int | None:
    for key in ("status_code", "status", "code"):
        value = fields.get(key)
        if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
    return None


def _plain(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = re.search(r"<title>([^<]{1,200})", text, re.IGNORECASE)
        return f"an HTML page, {title[1].strip()!r}" if title else "an HTML page"
    return text


def _redirect(status: int, headers: Mapping[str, str]) -> ProviderError:
    try:
        host = urlsplit(headers.get("location", "")).hostname or "another path"
    except ValueError:
        host = "an address that cannot be read"
    return ProviderError(
        "protocol",
        f"the provider redirects to {one_line(host, 100)}; redirects are not followed. Check base_url",
        code="redirect",
        status_code=status,
        retryable=False,
    )
