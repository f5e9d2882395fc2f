"""Everything that can go wrong, as one tree.

    LLMError
    ├── ProviderError           a provider, the network, or the provider's answer; see `type`
    ├── AllAttemptsFailed       more than one candidate was tried, or none could be; holds every error
    ├── RequestError            the request cannot be sent as it is
    │   ├── UnknownModel
    │   ├── UnknownProvider
    │   └── UnsupportedFeature  the model cannot do what the request needs
    ├── StructuredOutputError   the answer does not fit the schema; holds the raw text
    ├── RateLimited             refused by our own limits
    ├── BudgetExceeded          refused by a budget
    ├── NotCached               the cache has no answer, and the request asks for nothing else
    ├── ConfigError             the configuration is wrong: every issue with file, line and column
    ├── ModelError
    │   ├── ModelLoadError      a local model cannot be loaded
    │   ├── ModelNotReady
    │   ├── ModelTooLarge       it takes more memory than there is for models
    │   ├── NoCapacity          no room for it: the models in memory are in use
    │   ├── ModelQueueFull      too many calls wait for it already
    │   └── WorkerCrashed       the process that ran the model has gone
    ├── ServiceStopping         the service is stopping or has stopped
    └── WrongEventLoop          the service runs in another event loop, thread or process

A message says what happened, where, and what to do next. None of them holds a secret.
`asyncio.CancelledError` is never turned into one of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from core.llm.common.types import Billing, Cost, ModelRef, PartialOutput, Usage

if TYPE_CHECKING:
    from core.llm.common.trace import CallTrace

ErrorType = Literal[
    "authentication",
    "permission",
    "rate_limit",
    "quota_exceeded",
    "invalid_request",
    "context_length",
    "model_not_found",
    "content_filter",
    "server_error",
    "overloaded",
    "network_error",
    "timeout",
    "protocol",
    "cancelled",
    "unknown",
]

ErrorScope = Literal["request", "key", "model", "provider"]
"""What the error says something about: this request only, the credential, the model, or the whole provider."""

OutputFailure = Literal["invalid", "refused", "truncated"]
"""Why an object is missing: the answer breaks its rules, the model refused, or it ran into the limit of tokens."""

_RETRYABLE: frozenset[str] = frozenset(
    {"rate_limit", "server_error", "overloaded", "network_error", "timeout", "protocol"}
)
_SCOPE: dict[str, ErrorScope] = {
    "authentication": "key",
    "permission": "key",
    "rate_limit": "key",
    "quota_exceeded": "key",
    "model_not_found": "model",
    "server_error": "provider",
    "overloaded": "provider",
    "network_error": "provider",
    "timeout": "provider",
    "protocol": "provider",
}


def _rebuilt(kind: "type[LLMError]", *args: Any) -> "LLMError":
    return kind.__new__(kind, *args)


class LLMError(Exception):
    """Root of everything this library raises on purpose."""

    trace: "CallTrace | None" = None
    """What was tried, where the error ended a call."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the text and the fields, whatever the constructor wants: errors cross processes."""
        return (_rebuilt, (type(self), *self.args), self.__dict__)


class ProviderError(LLMError):
    """A provider refused, failed, or answered with something that is no answer."""

    def __init__(
        self,
        type: ErrorType,  # noqa: A002 - the public field name
        message: str,
        *,
        code: str | None = None,
        status_code: int | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        scope: ErrorScope | None = None,
        provider: str | None = None,
        model: str | None = None,
        request_id: str | None = None,
        partial: PartialOutput | None = None,
        billing: Billing = "none",
        context_window: int | None = None,
    ) -> None:
        message = message or f"no details were given ({type})"
        super().__init__(message)
        self.type: ErrorType = type
        self.message = message
        self.code = code
        """Machine-readable detail: the provider's own code, or ours such as `first_token_timeout`."""
        self.status_code = status_code
        self.retryable = type in _RETRYABLE if retryable is None else retryable
        """Whether the same request may succeed at the same place a little later."""
        self.retry_after = retry_after
        """Seconds the provider asked us to wait."""
        self.scope: ErrorScope = _SCOPE.get(type, "request") if scope is None else scope
        self.provider = provider
        self.model = model
        self.request_id = request_id
        self.partial = partial
        """What the caller had already received; set exactly when output had been delivered."""
        self.billing: Billing = billing
        self.context_window = context_window
        """Size of the window that the prompt did not fit into, in tokens, where known."""

    def at(self, provider: str, model: str | None) -> "ProviderError":
        """Fill in where it happened, unless already known; returns itself."""
        self.provider = self.provider or provider
        self.model = self.model or model
        return self

    def __str__(self) -> str:
        where = "/".join(part for part in (self.provider, self.model) if part)
        status = f" (HTTP {self.status_code})" if self.status_code else ""
        wait = f" Retry after {self.retry_after:g} s." if self.retry_after else ""
        return f"{where}: {self.message}{status}{wait}" if where else f"{self.message}{status}{wait}"


class AllAttemptsFailed(LLMError):
    """No candidate answered. `errors` holds one error per candidate that was tried, in order."""

    def __init__(
        self,
        message: str,
        errors: Sequence[LLMError] = (),
        skipped: Sequence[tuple[ModelRef, str]] = (),
        waits: Sequence[float] = (),
    ) -> None:
        super().__init__(message)
        self.errors = tuple(errors)
        self.skipped = tuple(skipped)
        """Candidates that were never sent the request, each with the reason."""
        self._waits = tuple(waits)

    @property
    def retry_after(self) -> float | None:
        """The shortest time, in seconds, that any candidate asked for or is still left alone."""
        asked = [
            error.retry_after
            for error in self.errors
            if isinstance(error, ProviderError | RateLimited) and error.retry_after
        ]
        return min((*asked, *self._waits), default=None)


class RequestError(LLMError):
    """The request cannot be sent as it is; sending it again changes nothing."""


class UnknownModel(RequestError):
    """No alias, provider model or model name matches."""


class UnknownProvider(RequestError):
    """No provider of that name is configured."""


class UnsupportedFeature(RequestError):
    """The model or provider cannot do what the request needs (tools, images, a schema …)."""


class StructuredOutputError(LLMError):
    """The answer is not the object that was asked for; `text` is the raw answer, which no message holds."""

    def __init__(
        self,
        message: str,
        *,
        text: str,
        reason: OutputFailure = "invalid",
        usage: Usage | None = None,
        cost: Cost | None = None,
    ) -> None:
        super().__init__(message)
        self.text = text
        self.reason: OutputFailure = reason
        self.usage = usage
        """Tokens of every answer that was asked for; they have been paid for all the same."""
        self.cost = cost


class RateLimited(LLMError):
    """Our own limits refuse the call; nothing was sent."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BudgetExceeded(LLMError):
    """A budget or cost limit refuses the call; nothing was sent."""

    resets_at: datetime | None = None
    """When the budget begins anew; `None` where it is a limit of the call alone."""


class NotCached(LLMError):
    """The cache has no answer to a request that asks for the cache only; nothing was sent."""


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One thing that is wrong in the configuration, and where. Never holds the offending value."""

    message: str
    path: str = ""
    """Dotted path of the field, such as `providers.openai.timeouts.total`."""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    suggestion: str | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = ": ".join(part for part in (where, self.path, self.message) if part)
        return f"{text} ({self.suggestion})" if self.suggestion else text


class ConfigError(LLMError):
    """The configuration cannot be used; `issues` lists everything that is wrong with it."""

    def __init__(self, issues: Sequence[ConfigIssue]) -> None:
        self.issues = tuple(issues)
        super().__init__(self._text())

    def _text(self) -> str:
        if len(self.issues) == 1:
            return str(self.issues[0])
        return f"{len(self.issues)} problems in the configuration:\n" + "\n".join(f"  {issue}" for issue in self.issues)


class ModelError(LLMError):
    """Something about a local model or the process that runs it."""

    def __init__(self, message: str, *, model: str | None = None) -> None:
        super().__init__(message)
        self.model = model


class ModelLoadError(ModelError):
    """A model cannot be loaded: the reason is in the message, the worker's last output in `output`."""

    def __init__(self, message: str, *, model: str | None = None, output: str = "") -> None:
        super().__init__(message, model=model)
        self.output = output


class ModelNotReady(ModelError):
    """The model is not in memory and the caller did not want to wait."""


class ModelTooLarge(ModelLoadError):
    """The model takes more memory than the whole budget of its device; nothing was unloaded for it."""

    def __init__(self, message: str, *, model: str | None = None, need: int = 0, budget: int = 0) -> None:
        super().__init__(message, model=model)
        self.need = need
        self.budget = budget


class NoCapacity(ModelError):
    """There was no room for the model in time: what is in memory is in use or pinned. Another time may do."""


class ModelQueueFull(ModelError):
    """As many calls as may wait for the model do so already. Another time, or another model, may do."""


class WorkerCrashed(ModelError):
    """The process that ran the model has gone: killed, crashed, or out of memory."""

    def __init__(
        self,
        message: str,
        *,
        pid: int | None = None,
        exit_code: int | None = None,
        model: str | None = None,
        output: str = "",
        code: str = "worker_crashed",
    ) -> None:
        super().__init__(message, model=model)
        self.code = code
        """worker_crashed, worker_hangs, or out_of_memory: then the same call would end it again."""
        self.pid = pid
        self.exit_code = exit_code
        self.output = output


class ServiceStopping(LLMError):
    """The service accepts no calls: it is stopping, has stopped, or was never started."""


class WrongEventLoop(LLMError):
    """A call came from another event loop, thread or process than the one in which the service was started."""
