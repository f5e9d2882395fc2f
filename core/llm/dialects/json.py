"""JSON from strangers: parsed within limits, and nothing but `ProviderError` comes out when it is bad."""

from typing import Any, Final

from pydantic_core import from_json, to_json

from core.llm.common.exceptions import ProviderError, RequestError
from core.llm.common.types import Billing

MAX_DEPTH: Final = 100
MAX_BYTES: Final = 64 * 2**20

_BOM: Final = b"\xef\xbb\xbf"
# The parser refuses these whatever is sent a second time: the answer is hostile or broken by design, not by chance.
_DELIBERATE: Final = ("recursion limit", "number out of range", "hex escape", "surrogate")


def parse_json(data: bytes, *, limit: int = MAX_BYTES) -> Any:
    """The value in *data*. Numbers are finite or beyond the float range, nesting and size are bounded.

    Raises:
        ProviderError: `protocol`, with code `json`, `encoding` or `too_large`; the text never quotes the data.
    """
    if len(data) > limit:
        raise ProviderError(
            "protocol",
            f"the answer holds a JSON text of {len(data)} bytes; the limit is {limit}",
            code="too_large",
            retryable=False,
            billing="ambiguous",
        )
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        if data.startswith(_BOM):
            return parse_json(data[3:], limit=limit)
        raise _bad_json(data, str(error)) from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise _bad_json(data, f"nested deeper than {MAX_DEPTH} levels (recursion limit)")
    return value


def parse_object(data: bytes, *, limit: int = MAX_BYTES) -> dict[str, Any]:
    """As `parse_json`, for texts that must be a JSON object; code `schema` where it is something else."""
    value: dict[str, Any] = parse_json(data, limit=limit)
    if value.__class__ is not dict:
        raise schema_error(f"a JSON object was expected, not {_kind(value)}")
    return value


def schema_error(detail: str, billing: Billing = "ambiguous") -> ProviderError:
    """JSON that is well-formed, but not what the wire format says."""
    return ProviderError("protocol", f"unexpected answer: {detail}", code="schema", billing=billing)


def encode_json(value: Any) -> bytes:
    """*value* as compact UTF-8 JSON.

    Raises:
        RequestError: it holds something that JSON has no form for (a lone surrogate, an arbitrary object).
    """
    try:
        return to_json(value)
    except ValueError as error:
        detail = "a text with a lone surrogate" if "surrogate" in str(error) or "utf-8" in str(error) else str(error)
        raise RequestError(f"the request cannot be written as JSON: {detail}") from None


def _bad_json(data: bytes, detail: str) -> ProviderError:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return ProviderError(
            "protocol",
            f"the answer is not valid UTF-8 (byte {error.start} of {len(data)})",
            code="encoding",
            billing="ambiguous",
        )
    deliberate = any(sign in detail for sign in _DELIBERATE) or _is_json_but_for_nan(data)
    return ProviderError(
        "protocol",
        f"the answer is not valid JSON: {detail} ({len(data)} bytes)",
        code="json",
        retryable=not deliberate,
        billing="ambiguous",
    )


def _is_json_but_for_nan(data: bytes) -> bool:
    """Whether only NaN or Infinity stands in the way: a server that writes them once will write them again."""
    try:
        from_json(data, allow_inf_nan=True)
    except ValueError:
        return False
    return True


def _deeper_than(value: Any, limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {list: "an array", str: "a string", bool: "a boolean", dict: "an object"}.get(type(value), "a number")
