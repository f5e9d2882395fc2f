"""What an error of Ollama means: status and text to our tree.

Ollama's errors are a status and `{"error": "text"}`; inside a stream, where the status is out already, only the text.
The text is what tells them apart, so this is the one place that knows Ollama's phrases.
"""

from collections.abc import Mapping
from typing import Final

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.errors import ErrorBody, classify, clean, http_error, read_error

_CONTEXT: Final = (
    "exceeds maximum context length",
    "exceeds the available context",
    "exceed context",
    "prompt too long",
)
_MEMORY: Final = (
    "more system memory",
    "out of memory",
    "cudamalloc failed",
    "insufficient memory",
    "unable to allocate",
)
_BUSY: Final = ("server busy", "maximum pending requests")
_UNSUPPORTED: Final = ("does not support", "is not supported for this model", "not supported by this model")
_INVALID: Final = (
    "must be of type",
    "invalid option",
    "invalid model name",
    "invalid format",
    "failed to parse grammar",
)
_NO_SPACE: Final = ("no space left", "disk quota exceeded", "not enough disk space")


def error_from(status: int, headers: Mapping[str, str], body: bytes, *, model: str = "") -> ProviderError:
    """The error that an answer with *status* stands for."""
    if status < 400:
        return http_error(status, headers, body)
    parsed = read_error(body)
    signin = isinstance(parsed.value, dict) and "signin_url" in parsed.value
    # Only the text is taken over: other fields of Ollama's errors say nothing about their kind.
    error = classify(ErrorBody(parsed.message, value=parsed.value), status=status, headers=headers)
    return _refined(error, parsed.message, model, signin=signin)


def error_from_text(text: str, *, model: str = "") -> ProviderError:
    """The error that an error line in a stream stands for."""
    return _refined(classify(ErrorBody(text)), text, model, signin=False)


def _refined(error: ProviderError, text: str, model: str, *, signin: bool) -> ProviderError:
    words, status = text.lower(), error.status_code
    said = f"Ollama: {clean(text)}" if text else "Ollama gave no reason"
    error.message = said
    if _missing(words, status):
        name = model or _quoted(text) or "<model>"
        _set(error, "model_not_found", "model_not_found")
        error.message = (
            f"{said}. Pull the model with `ollama pull {clean(name)}`, or set `pull: when_missing` for this provider"
        )
    elif status == 404:
        _set(error, "invalid_request", "not_found")
        error.message = f"{said}. The server has no such address or file: it may be too old, or base_url is wrong"
    elif _any(_CONTEXT, words) or error.type == "context_length":
        _set(error, "context_length", "context_length")
        error.message = f"{said}. Shorten the prompt or raise `options.num_ctx`"
    elif _any(_UNSUPPORTED, words):
        _set(error, "invalid_request", "unsupported")
        error.scope = "model"
    elif _any(_MEMORY, words):
        _set(error, "server_error", "out_of_memory", retryable=False)
        error.scope = "model"
        error.message = f"{said}. Unload another model, choose a smaller one, or lower `options.num_ctx`"
    elif _any(_NO_SPACE, words):
        _set(error, "server_error", "disk_full", retryable=False)
    elif "digest mismatch" in words:
        _set(error, "protocol", "digest_mismatch")
    elif _any(_BUSY, words):
        _set(error, "overloaded", "busy")
    elif _any(_INVALID, words):
        _set(error, "invalid_request", None)
    elif signin or error.type == "authentication" or words == "unauthorized":
        _set(error, "authentication", None)
        error.message = f"{said}. This model needs an account: run `ollama signin` on the server, or set `api_key`"
    error.args = (error.message,)
    return error


def _set(error: ProviderError, kind: str, code: str | None, *, retryable: bool | None = None) -> None:
    """Give *error* another type, with the retryability and scope that belong to it."""
    fresh = ProviderError(kind, "", retryable=retryable)  # type: ignore[arg-type]  # every caller names a member of ErrorType
    error.type, error.retryable, error.scope = fresh.type, fresh.retryable, fresh.scope
    error.code = code


def _any(phrases: tuple[str, ...], words: str) -> bool:
    return any(phrase in words for phrase in phrases)


def _missing(words: str, status: int | None) -> bool:
    if status is not None and status != 404 and status < 500:
        return False
    return (
        ("model" in words and ("not found" in words or "no such model" in words))
        or "try pulling it first" in words
        or "file does not exist" in words
    )


def _quoted(text: str) -> str:
    for mark in ("'", '"'):
        pieces = text.split(mark)
        if len(pieces) > 2:
            return pieces[1]
    return ""
