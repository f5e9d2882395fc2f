"""Errors of Google's APIs: by reason, by status, by quota, in a list or alone."""

import json
from typing import Any

import pytest

from core.llm.dialects.gemini_errors import gemini_error, gemini_http_error


def body(code: int, word: str, message: str = "no", **detail: Any) -> dict[str, Any]:
    """Google's error object with one detail."""
    return {"error": {"code": code, "message": message, "status": word, "details": [detail] if detail else []}}


@pytest.mark.parametrize(
    ("value", "kind", "code"),
    [
        (body(400, "INVALID_ARGUMENT"), "invalid_request", "INVALID_ARGUMENT"),
        (body(400, "INVALID_ARGUMENT", reason="API_KEY_INVALID"), "authentication", "API_KEY_INVALID"),
        (
            body(400, "FAILED_PRECONDITION", "Billing is off", reason="BILLING_DISABLED"),
            "quota_exceeded",
            "BILLING_DISABLED",
        ),
        (body(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), "permission", "FAILED_PRECONDITION"),
        (body(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers"), "authentication", "PERMISSION_DENIED"),
        (body(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), "quota_exceeded", "RESOURCE_EXHAUSTED"),
        (body(401, "UNAUTHENTICATED", reason="ACCESS_TOKEN_EXPIRED"), "authentication", "ACCESS_TOKEN_EXPIRED"),
        (body(403, "PERMISSION_DENIED"), "permission", "PERMISSION_DENIED"),
        (body(403, "PERMISSION_DENIED", reason="SERVICE_DISABLED"), "permission", "SERVICE_DISABLED"),
        (body(404, "NOT_FOUND"), "model_not_found", "NOT_FOUND"),
        (body(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"), "rate_limit", "RESOURCE_EXHAUSTED"),
        (body(429, "RESOURCE_EXHAUSTED", violations=[{"quotaId": "XPerDayY"}]), "quota_exceeded", "RESOURCE_EXHAUSTED"),
        (body(500, "INTERNAL"), "server_error", "INTERNAL"),
        (body(503, "UNAVAILABLE"), "overloaded", "UNAVAILABLE"),
        (body(504, "DEADLINE_EXCEEDED"), "server_error", "DEADLINE_EXCEEDED"),
    ],
)  # fmt: skip
def test_every_kind_of_refusal(value: dict[str, Any], kind: str, code: str) -> None:
    """As an answer, in a list, and inside a stream, where only the body has a status."""
    status = value["error"]["code"]
    for shape in (value, [value]):
        error = gemini_http_error(status, {}, json.dumps(shape).encode())
        assert (error.type, error.code, error.status_code) == (kind, code, status)
        inside = gemini_error(shape, billing="estimated")
        assert (inside.type, inside.code, inside.billing) == (kind, code, "estimated")
    del value["error"]["code"]
    assert gemini_error(value).type == kind


@pytest.mark.parametrize(
    ("delay", "seconds"), [("45.837906927s", 45.837906927), ("37s", 37.0), ("0s", None), ("x", None), (3, None)]
)
def test_f28_the_delay_is_in_the_body(delay: Any, seconds: float | None) -> None:
    """F28: with its fraction; nonsense is no hint."""
    error = gemini_error(body(429, "RESOURCE_EXHAUSTED", retryDelay=delay), status=429)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>", b"[]", b"{}", b'{"error": "x"}', b'{"error": {"details": [1, {"violations": 2}]}}', b"\xff"],
)
def test_any_body_is_an_error(data: bytes) -> None:
    """By its status alone, where there is nothing to read."""
    assert gemini_http_error(500, {}, data).type == "server_error"
    assert gemini_http_error(429, {}, data).type == "rate_limit"
    assert gemini_http_error(302, {"location": "http://x"}, data).code == "redirect"
