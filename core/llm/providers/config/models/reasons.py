"""Why a candidate failed, in the words in which a configuration names what comes next."""

from typing import Literal

FallbackReason = Literal[
    "context_length",
    "content_filter",
    "quota_exceeded",
    "rate_limit",
    "authentication",
    "model_not_found",
    "timeout",
    "outage",
]
"""`content_filter` includes refusals, `authentication` permissions. `outage` is everything that says that the provider
is not well: server errors, overload, network errors, timeouts, broken answers, local models that do not load."""
