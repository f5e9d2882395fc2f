"""What an error of Google's APIs stands for.

The body is `{"error": {code, message, status, details}}`, alone or in a list. The details decide where the status does
not: a wrong key is a 400 with the reason `API_KEY_INVALID`, and a 429 is worth waiting for unless it names a quota that
is counted by the day.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.secrets import one_line
from core.llm.common.types import Billing
from core.llm.dialects.errors import MAX_ERROR_BYTES, ErrorBody, classify, clean, error_of, http_error, request_id
from core.llm.dialects.json import parse_json
from core.llm.dialects.retry_hints import retry_after

_KEY_REASONS: Final = frozenset(
    {
        "API_KEY_INVALID",
        "API_KEY_EXPIRED",
        "ACCESS_TOKEN_EXPIRED",
        "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        "CREDENTIALS_MISSING",
    }
)
_PERMISSION_REASONS: Final = frozenset(
    {"API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED", "SERVICE_DISABLED",
     "CONSUMER_SUSPENDED", "IAM_PERMISSION_DENIED"}
)  # fmt: skip
_BILLING_REASONS: Final = frozenset({"BILLING_DISABLED"})
_LOCATION: Final = re.compile(r"location is not supported", re.IGNORECASE)
_DEPLETED: Final = re.compile(r"credits are depleted|spending (cap|limit)", re.IGNORECASE)
_WINDOW: Final = re.compile(r"tokens allowed \(([0-9]{1,9})\)")


def gemini_http_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error of an answer with *status* 300 or more."""
    if status < 400:
        return http_error(status, headers, body)
    try:
        value = parse_json(body[:MAX_ERROR_BYTES])
    except ProviderError:
        return http_error(status, headers, body)
    return gemini_error(value, status=status, headers=headers)


def gemini_error(
    value: object, *, status: int | None = None, headers: Mapping[str, str] | None = None, billing: Billing = "none"
) -> ProviderError:
    """The error that a decoded body stands for; *status* is `None` where it came inside a good answer."""
    headers = headers or {}
    general = error_of(value)
    error = google_error_object(value)
    if error is None:
        return classify(general, status=status, headers=headers, billing=billing)
    word = error.get("status")
    word = word if isinstance(word, str) else None
    reason = next(_reasons(error), None)
    effective = status if status is not None else general.status
    if effective == 429 or (effective is None and word == "RESOURCE_EXHAUSTED"):
        return _limited(general, error, word, effective, headers, billing)
    if reason in _KEY_REASONS:
        body = ErrorBody(general.message, "API_KEY_INVALID", word, general.status, value)
        found = classify(body, status=status, headers=headers, billing=billing)
        found.code = reason
        return found
    if reason in _PERMISSION_REASONS or reason in _BILLING_REASONS:
        kind = "BILLING_NOT_ACTIVE" if reason in _BILLING_REASONS else None
        body = ErrorBody(general.message, kind, word, general.status, value)
        found = classify(body, status=403 if kind is None else status, headers=headers, billing=billing)
        found.code, found.status_code = reason, effective
        return found
    if effective is None and word in _STATUS_OF:
        general = ErrorBody(general.message, None, None, _STATUS_OF[word], value)
    body = ErrorBody(general.message, word, None, general.status, value)
    found = classify(body, status=status, headers=headers, billing=billing)
    if found.type == "invalid_request" and _LOCATION.search(general.message):
        # The request is fine: another provider may well take it.
        found = classify(ErrorBody(general.message, word), status=403, headers=headers, billing=billing)
        found.status_code = effective
    if found.type == "context_length" and (window := _WINDOW.search(general.message)):
        found.context_window = int(window[1])
    return found


_STATUS_OF: Final = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ABORTED": 409, "CANCELLED": 499, "INTERNAL": 500, "UNKNOWN": 500,
    "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip


def google_error_object(value: object) -> Mapping[str, Any] | None:
    """The object under `error`, whether *value* holds it itself or in a list of one."""
    outer = value[0] if isinstance(value, list) and value else value
    error = outer.get("error") if isinstance(outer, Mapping) else None
    return error if isinstance(error, Mapping) else None


def _limited(
    body: ErrorBody,
    error: Mapping[str, Any],
    word: str | None,
    status: int | None,
    headers: Mapping[str, str],
    billing: Billing,
) -> ProviderError:
    """Too many requests. Waiting as long as told helps, except for what is counted by the day."""
    is_daily = any("perday" in quota.lower() for quota in _quotas(error))
    is_spent = is_daily or bool(_DEPLETED.search(body.message))
    # Google says of every limit that "you exceeded your current quota": the wording decides nothing here.
    text = clean(body.message)
    if is_spent:
        what = "the daily quota is used up" if is_daily else "the quota is used up"
        message = f"{what}: {text}" if text else what
        advice = "Waiting a little does not help: check plan and billing, or use another key"
    else:
        message, advice = f"rate limited: {text}" if text else "rate limited", ""
    return ProviderError(
        "quota_exceeded" if is_spent else "rate_limit",
        ". ".join(part.rstrip(". ") for part in (message, advice) if part),
        code=one_line(word, 80) if word else None,
        status_code=status,
        # A daily quota comes with the same short delay as any other limit, and it means nothing.
        retry_after=None if is_spent else retry_after(headers, body.value),
        request_id=request_id(headers),
        billing=billing,
    )


def _details(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = error.get("details")
    if isinstance(details, list):
        for detail in details:
            if isinstance(detail, Mapping):
                yield detail


def _reasons(error: Mapping[str, Any]) -> Iterator[str]:
    for detail in _details(error):
        reason = detail.get("reason")
        if isinstance(reason, str) and reason:
            yield one_line(reason, 80)


def _quotas(error: Mapping[str, Any]) -> Iterator[str]:
    for detail in _details(error):
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, Mapping):
                for key in ("quotaId", "quotaMetric"):
                    name = violation.get(key)
                    if isinstance(name, str):
                        yield name
