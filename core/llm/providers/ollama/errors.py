"""What an error of Ollama means: status and text to our tree.

Ollama's errors are a status and `{"error": "text"}`; inside a stream, after the status is out, only the text.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from core.llm.common.exceptions import ErrorScope, ErrorType, ProviderError
from core.llm.common.secrets import one_line, redact

_BY_STATUS: Final[dict[int, tuple[ErrorType, str | None]]] = {
    400: ("invalid_request", None),
    401: ("authentication", None),
    402: ("quota_exceeded", None),
    403: ("permission", None),
    404: ("invalid_request", "not_found"),
    408: ("server_error", None),
    409: ("server_error", None),
    413: ("invalid_request", "too_large"),
    422: ("invalid_request", None),
    425: ("server_error", None),
    429: ("rate_limit", None),
    499: ("server_error", "request_cancelled"),
    503: ("overloaded", None),
    529: ("overloaded", None),
}

_CONTEXT: Final = (
    "exceeds maximum context length",
    "exceeds the available context",
    "exceeds the context",
    "exceed context",
    "context length exceeded",
    "context window",
    "prompt is too long",
    "prompt too long",
)
_MEMORY: Final = (
    "more system memory",
    "out of memory",
    "cudamalloc failed",
    "insufficient memory",
    "unable to allocate",
)
_BUSY: Final = ("server busy", "maximum pending requests", "loading model")
_UNSUPPORTED: Final = ("does not support", "is not supported for this model", "not supported by this model")
_INVALID: Final = (
    "must be of type",
    "invalid option",
    "invalid model name",
    "invalid format",
    "invalid digest",
    "failed to parse grammar",
)
_NO_SPACE: Final = ("no space left", "disk quota exceeded", "not enough disk space")


def error_from(status: int, headers: Mapping[str, str], body: bytes, *, model: str = "") -> ProviderError:
    """The error that an answer with *status* stands for."""
    if 300 <= status < 400:
        return ProviderError(
            "protocol",
            "the Ollama server answered with a redirect, which is never followed: correct base_url",
            code="redirect",
            status_code=status,
            retryable=False,
        )
    return error_from_text(_text_of(body), status=status, model=model, retry_after=_retry_after(headers))


def error_from_text(
    text: str, *, status: int | None = None, model: str = "", retry_after: float | None = None
) -> ProviderError:
    """The error that Ollama's own words stand for, with the *status* where there is one."""
    words = text.lower()
    said = one_line(redact(text)) or "no reason given"
    kind, code = _BY_STATUS.get(status or 500, ("invalid_request" if status and status < 500 else "server_error", None))
    retryable: bool | None = None
    scope: ErrorScope | None = None
    message = f"Ollama: {said}"
    if _missing(words, status):
        kind, code = "model_not_found", "model_not_found"
        name = model or _quoted(text)
        message = (
            f"{message}. Pull the model with `ollama pull {name or '<model>'}`, "
            "or set `auto_pull: true` for this provider"
        )
    elif any(phrase in words for phrase in _CONTEXT):
        kind, code = "context_length", "context_length"
        message = f"{message}. Shorten the prompt or raise `options.num_ctx`"
    elif any(phrase in words for phrase in _UNSUPPORTED):
        kind, code, scope = "invalid_request", "unsupported", "model"
    elif any(phrase in words for phrase in _MEMORY):
        kind, code, scope, retryable = "server_error", "out_of_memory", "model", False
        message = f"{message}. Unload another model, choose a smaller one, or lower `options.num_ctx`"
    elif any(phrase in words for phrase in _NO_SPACE):
        kind, code, retryable = "server_error", "disk_full", False
    elif "digest mismatch" in words:
        kind, code, retryable = "protocol", "digest_mismatch", True
    elif any(phrase in words for phrase in _BUSY) and (status is None or status >= 500):
        kind = "overloaded"
    elif any(phrase in words for phrase in _INVALID):
        kind = "invalid_request"
    elif "signin_url" in words or "unauthorized" in words or kind == "authentication":
        kind = "authentication"
        message = "Ollama: this model needs an account: run `ollama signin` on the server, or set `api_key`"
    return ProviderError(
        kind, message, code=code, status_code=status, retryable=retryable, retry_after=retry_after, scope=scope
    )


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
        before, _, rest = text.partition(mark)
        if rest and before:
            return rest.partition(mark)[0]
    return ""


def _text_of(body: bytes) -> str:
    try:
        value: Any = from_json(body[:65536], allow_inf_nan=False)
    except ValueError:
        text = body[:300].decode("utf-8", "replace").strip()
        return "an HTML page instead of an answer: is this the Ollama server?" if text.startswith("<") else text
    if isinstance(value, dict):
        error = value.get("error")
        if isinstance(error, str):
            return f"{error} (signin_url given)" if "signin_url" in value else error
        if isinstance(error, dict) and isinstance(error.get("message"), str):
            return str(error["message"])
    return ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "").strip()
    # Ollama sends none; a proxy before it may. Anything but plain digits is no hint that can be trusted.
    if value.isascii() and value.isdigit() and len(value) < 8:
        return float(value) or None
    return None
