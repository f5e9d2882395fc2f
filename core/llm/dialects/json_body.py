"""A whole body that should be JSON, and what it is taken for where it is not."""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.secrets import one_line
from core.llm.dialects.errors import classify, clean, error_of, is_error
from core.llm.dialects.json import parse_json, schema_error

BOM: Final = b"\xef\xbb\xbf"

_OPENING: Final = frozenset({b"{", b"["})
_PREVIEW: Final = 64


def json_answer(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object of a successful answer, whatever its label says.

    Raises:
        ProviderError: `protocol` for an empty body, a web page or bad JSON; the inner error for an error object.
    """
    require_json(body, headers)
    answer = parse_json(body)
    if isinstance(answer, dict):
        if is_error(answer):
            raise classify(error_of(answer), headers=headers)
        return answer
    if isinstance(answer, list) and answer and isinstance(answer[0], dict) and is_error(answer[0]):
        # Google wraps its errors in a list.
        raise classify(error_of(answer), headers=headers)
    raise schema_error("it is no JSON object")


def require_json(body: bytes, headers: Mapping[str, str]) -> None:
    """Raise the `protocol` error for a *body* that is empty or does not begin like JSON."""
    if body[:1] == b"{":
        return
    if not body.strip():
        raise ProviderError("protocol", "the answer has no body", code="empty", billing="ambiguous")
    if not looks_like_json(body):
        raise not_json(body, headers)


def looks_like_json(body: bytes) -> bool:
    """True where the first visible byte opens a JSON value that could be an answer."""
    return body.removeprefix(BOM).lstrip()[:1] in _OPENING


def not_json(body: bytes, headers: Mapping[str, str]) -> ProviderError:
    """The error for a good status with a body that is no answer: a login page, a proxy's message."""
    label = one_line(headers.get("content-type", "no content type"), 60)
    try:
        body.decode()
    except UnicodeDecodeError:
        return ProviderError(
            "protocol", f"the answer is neither JSON nor text ({label})", code="encoding", billing="ambiguous"
        )
    preview = clean(body[:_PREVIEW].decode("utf-8", "replace"))
    return ProviderError(
        "protocol",
        f"the answer is not JSON ({label}, {len(body)} bytes): {preview!r}. Check base_url and any proxy in between",
        code="content_type" if body.lstrip()[:1] == b"<" or "html" in label else "json",
        billing="ambiguous",
    )
