"""What a failed attempt says something about: the table, row by row."""

import asyncio

import pytest

from core.llm.common.exceptions import ErrorScope, ErrorType, RateLimited
from core.llm.pipeline.failure_scope import Suspect, suspect_of
from tests.unit.pipeline.support import an_error

ROWS: list[tuple[ErrorType, str | None, ErrorScope | None, Suspect | None]] = [
    ("network_error", "connect", None, "provider"),
    ("network_error", "dns", None, "provider"),
    ("network_error", "tls", None, "provider"),
    ("network_error", "proxy", None, "provider"),
    ("timeout", "connect_timeout", None, "provider"),
    ("network_error", "connection_lost", None, "either"),
    ("network_error", "body_cut", None, "either"),
    ("server_error", None, None, "either"),
    ("overloaded", None, None, "either"),
    ("timeout", "first_token_timeout", None, "either"),
    ("timeout", "attempt_timeout", None, "either"),
    ("protocol", "content_type", None, "either"),
    ("protocol", "truncated", None, "either"),
    ("server_error", None, "model", "model"),
    ("overloaded", None, "model", "model"),
    ("server_error", "worker_crashed", "model", None),
    ("network_error", "clock_skew", "request", None),
    ("rate_limit", None, None, None),
    ("quota_exceeded", None, None, None),
    ("authentication", None, None, None),
    ("permission", None, "model", None),
    ("model_not_found", None, None, None),
    ("invalid_request", None, None, None),
    ("context_length", None, None, None),
    ("content_filter", None, None, None),
    ("timeout", "deadline_exceeded", None, None),
    ("timeout", "pool_exhausted", None, None),
    ("network_error", "stale_connection", None, None),
    ("overloaded", "circuit_open", None, None),
    ("rate_limit", "gated", None, None),
    ("cancelled", "drained", None, None),
    ("unknown", "provider_defect", None, None),
]


@pytest.mark.parametrize(
    ("kind", "code", "scope", "suspect"), ROWS, ids=[f"{kind}-{code}-{scope}" for kind, code, scope, _ in ROWS]
)
def test_each_kind_of_failure_is_counted_where_it_belongs(
    kind: ErrorType, code: str | None, scope: ErrorScope | None, suspect: Suspect | None
) -> None:
    """F3, F5, F10, F17, F19, F38, F95, F97: what counts for the provider, its model, or nobody."""
    assert suspect_of(an_error(kind, code=code, scope=scope)) == suspect


def test_F95_cancellation_and_our_own_refusals_count_for_nobody() -> None:
    """What a caller or a limit of ours does says nothing about the other side."""
    assert suspect_of(asyncio.CancelledError()) is None
    assert suspect_of(RateLimited("too many")) is None
    assert suspect_of(None) is None
