"""What a failed attempt says something about: a table, and nothing else.

| the error says something about | example | what follows |
|---|---|---|
| the provider | connection refused, name not found, TLS | its breaker counts it |
| the model or the provider | 5xx, overloaded, timeout, cut connection, no real answer | who else answers decides |
| the model | any of these where the provider names the model as the cause | the breaker of the model counts it |
| the key | 401, 403, 429, quota | the key rests, see `keys`; no breaker counts it |
| nothing but the request, or nobody | 400, content filter, our own limits, cancellation | nothing |
"""

from typing import Final, Literal

from core.llm.common.exceptions import ProviderError

Suspect = Literal["provider", "either", "model"]

_COUNTED: Final = frozenset({"network_error", "server_error", "overloaded", "timeout", "protocol"})
# A worker of our own that crashed is started again by whoever keeps the models, slower each time: no breaker is needed.
_NOBODY: Final = frozenset(
    {"deadline_exceeded", "pool_exhausted", "stale_connection", "circuit_open", "gated", "worker_crashed"}
)
"""Codes of what never reached the other side, or was ended by our own limits."""
_ADDRESS: Final = frozenset({"connect", "connect_timeout", "dns", "proxy", "tls"})
"""Codes of what failed before a model was spoken of: all models of a provider share its address."""

_ALIVE: Final = frozenset({"invalid_request", "context_length", "content_filter", "rate_limit", "quota_exceeded"})
"""What nobody says who is down; a proxy in the place of a dead server may well say 401 or 404."""


def shows_life(error: BaseException | None) -> bool:
    """Whether *error* is a word of the other side that it can only say while it works."""
    return isinstance(error, ProviderError) and error.status_code is not None and error.type in _ALIVE


def suspect_of(error: BaseException | None) -> Suspect | None:
    """Whose breaker *error* counts for; `None` where it counts for none."""
    if not isinstance(error, ProviderError) or error.type not in _COUNTED or error.code in _NOBODY:
        return None
    if error.scope == "model":
        return "model"
    if error.scope != "provider":
        return None
    return "provider" if error.code in _ADDRESS else "either"
