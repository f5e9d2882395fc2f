"""How a worker process ended, and how its errors become ours."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.llm.common.exceptions import ErrorType, LLMError, ProviderError

_ERROR_TYPES: Final[Mapping[str, ErrorType]] = {
    "invalid_request": "invalid_request",
    "context_length": "context_length",
    "overloaded": "overloaded",
    "protocol": "protocol",
}


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """How a worker process ended."""

    pid: int
    exit_code: int | None
    """Negative: the signal that killed it. `None`: not known."""
    expected: bool
    """True where the host asked it to end."""
    reason: str
    output: str
    """The last lines it printed."""


def describe_exit(code: int | None) -> str:
    """The end of a process in words, such as `was killed by SIGKILL`."""
    if code is None:
        return "closed its connection"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = "; if nobody did that on purpose, the system was out of memory" if code == -signal.SIGKILL else ""
    return f"was killed by {name}{hint}"


def error_from(error: Mapping[str, Any]) -> Callable[[], LLMError]:
    """What makes the exception for an error that a worker reports; it may use a few of the types only."""
    kind = _ERROR_TYPES.get(error["type"], "server_error")
    message, code = str(error["message"]), error.get("code")
    # With the same parameters it would run out of memory again.
    retryable = False if code == "out_of_memory" else None
    return lambda: ProviderError(kind, message, code=None if code is None else str(code), retryable=retryable)
