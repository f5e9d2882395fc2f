"""What a failure means for the candidates that are left."""

from collections.abc import Mapping
from typing import Final

from core.llm.common.exceptions import LLMError, ModelError, ProviderError, RateLimited, StructuredOutputError
from core.llm.common.types import ModelRef
from core.llm.pipeline.handler import Call
from core.llm.pipeline.upstream import NOT_SENT
from core.llm.providers.config.models.reasons import FallbackReason

STOPS: Final = frozenset({"invalid_request", "content_filter", "cancelled"})
"""Errors that another provider would only repeat, or that must not be routed around."""

_OUTAGE: Final[tuple[FallbackReason, ...]] = ("outage",)
_REASONS: Final[Mapping[str, tuple[FallbackReason, ...]]] = {
    "context_length": ("context_length",),
    "content_filter": ("content_filter",),
    "quota_exceeded": ("quota_exceeded",),
    "rate_limit": ("rate_limit",),
    "authentication": ("authentication",),
    "permission": ("authentication",),
    "model_not_found": ("model_not_found",),
    "timeout": ("timeout", "outage"),
    "server_error": _OUTAGE,
    "overloaded": _OUTAGE,
    "network_error": _OUTAGE,
    "protocol": _OUTAGE,
}


def reasons_of(error: LLMError) -> tuple[FallbackReason, ...]:
    """The words for *error* under which an alias may name models, the narrowest first."""
    if isinstance(error, ProviderError):
        return _REASONS.get(error.type, ())
    if isinstance(error, StructuredOutputError):
        return ("content_filter",) if error.reason == "refused" else ()
    if isinstance(error, ModelError):
        return _OUTAGE
    return ("rate_limit",) if isinstance(error, RateLimited) else ()


def ends_the_call(error: LLMError, call: Call | None = None) -> bool:
    """Whether *error* goes to the caller whatever other candidates there are.

    A refusal does, unless the alias names models for that case.
    """
    if isinstance(error, ProviderError):
        if error.code == "deadline_exceeded":
            return True
        return error.type in STOPS and not reserved(error, call)
    return isinstance(error, StructuredOutputError) and not reserved(error, call)


def reserved(error: LLMError, call: Call | None) -> tuple[ModelRef, ...]:
    """The candidates that are kept for *error*, in order."""
    if call is None or not call.reserves:
        return ()
    return tuple(dict.fromkeys(ref for reason in reasons_of(error) for ref in call.reserves.get(reason, ())))


def is_refusal(error: LLMError) -> bool:
    """Whether the model, or what guards it, would not answer."""
    return "content_filter" in reasons_of(error)


def says_it_of_the_provider(error: LLMError) -> bool:
    """Whether another model of the same provider had better wait until the other providers have been asked."""
    return isinstance(error, ProviderError) and (error.scope == "provider" or error.type == "quota_exceeded")


def was_sent(error: LLMError) -> bool:
    """Whether the attempt that ended with *error* may have reached a provider."""
    if isinstance(error, ProviderError):
        return error.code not in NOT_SENT
    return isinstance(error, ModelError | StructuredOutputError)
