"""What becomes of an error that is none of ours: nothing foreign crosses the public interface."""

from core.llm.common.exceptions import LLMError, ProviderError, WorkerCrashed
from core.llm.common.types import ModelRef


def own_error(error: Exception, ref: ModelRef) -> LLMError:
    """*error* where it is one of ours, and otherwise a `ProviderError` that stands for it."""
    if isinstance(error, ProviderError):
        return error.at(ref.provider, ref.model)
    if isinstance(error, WorkerCrashed):
        return ProviderError(
            "server_error",
            str(error),
            code=error.code,
            retryable=error.code != "out_of_memory",
            provider=ref.provider,
            model=ref.model,
            billing="none",
        )
    if isinstance(error, LLMError):
        return error
    # The text of a foreign exception may hold request headers, hence only its type.
    return defect(ref, f"raised {type(error).__name__}")


def defect(ref: ModelRef, what: str) -> ProviderError:
    """The error for a provider that does *what* none may do."""
    return ProviderError(
        "unknown",
        f"the provider {what}, which is a defect of the provider",
        code="provider_defect",
        retryable=False,
        provider=ref.provider,
        model=ref.model,
        billing="ambiguous",
    )
