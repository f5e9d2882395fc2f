"""How a worker process ended, or why there is none, and how its errors become ours."""

import errno
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.llm.common.exceptions import ErrorType, LLMError, ModelLoadError, ProviderError

_ERROR_TYPES: Final[Mapping[str, ErrorType]] = {
    "invalid_request": "invalid_request",
    "context_length": "context_length",
    "overloaded": "overloaded",
    "protocol": "protocol",
}
_REMEDIES: Final[Mapping[int, str]] = {
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "close files of other programs, or raise the limit of the system",
    errno.EAGAIN: "raise the limit of processes (`ulimit -u`)",
    errno.ENOMEM: "free memory, such as by unloading another model",
    errno.ENOSPC: "make room where temporary files are kept (TMPDIR)",
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


def not_started(name: str, error: OSError) -> ModelLoadError:
    """What the model *name* is told where the system refuses a process, or what a process needs."""
    what = error.strerror or type(error).__name__
    where = f" ({error.filename})" if error.filename else ""
    remedy = _REMEDIES.get(error.errno or 0, "see to it that this application may start processes")
    message = f"the local model {name} cannot be loaded: its process cannot be started: {what}{where}; {remedy}"
    return ModelLoadError(message, model=name)


def error_from(error: Mapping[str, Any]) -> Callable[[], LLMError]:
    """What makes the exception for an error that a worker reports; it may use a few of the types only."""
    kind = _ERROR_TYPES.get(error["type"], "server_error")
    message, code = str(error["message"]), error.get("code")
    # With the same parameters it would run out of memory again.
    retryable = False if code == "out_of_memory" else None
    return lambda: ProviderError(kind, message, code=None if code is None else str(code), retryable=retryable)
