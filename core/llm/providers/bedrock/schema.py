"""JSON schemas within the rules of Bedrock's structured output and strict tools.

Objects must be closed, and constraints on numbers, lengths and counts are refused: they are left out here and checked
on our side, against the caller's own schema.
"""

from collections.abc import Mapping
from typing import Any, Final

_REFUSED: Final = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
        "maxItems", "uniqueItems", "minProperties", "maxProperties",
    }
)  # fmt: skip
_SILENT: Final = frozenset({"default", "title"})
"""Left out without a word: they change nothing about which answers are right."""
_NAMED: Final = frozenset({"properties", "$defs", "definitions"})


def closed_schema(schema: Mapping[str, Any], weakened: set[str] | None = None) -> dict[str, Any] | None:
    """*schema* by those rules, or `None` where they cannot express it: open objects, recursion.

    The keywords that were left out are added to *weakened*.
    """
    try:
        return _closed(schema, 0, set() if weakened is None else weakened)
    except _Inexpressible:
        return None


class _Inexpressible(Exception):
    pass


def _closed(node: Mapping[str, Any], depth: int, weakened: set[str]) -> dict[str, Any]:
    if depth > 60:
        raise _Inexpressible
    closed: dict[str, Any] = {}
    for key, value in node.items():
        if key in _REFUSED or (key == "minItems" and value not in {0, 1}):
            weakened.add(key)
        elif key in _SILENT:
            continue
        elif key in _NAMED and isinstance(value, Mapping):
            closed[key] = {name: _child(child, depth, weakened) for name, child in value.items()}
        elif key == "items":
            closed[key] = _child(value, depth, weakened)
        elif key in {"anyOf", "allOf"} and isinstance(value, list):
            closed[key] = [_child(child, depth, weakened) for child in value]
        elif key in {"oneOf", "not", "if", "then", "else", "patternProperties", "prefixItems"}:
            raise _Inexpressible
        else:
            closed[key] = value
    if closed.get("type") == "object" or "properties" in closed:
        if closed.get("additionalProperties", False) is not False:
            raise _Inexpressible
        closed["additionalProperties"] = False
    return closed


def _child(child: Any, depth: int, weakened: set[str]) -> dict[str, Any]:
    if not isinstance(child, Mapping):
        raise _Inexpressible
    return _closed(child, depth + 1, weakened)
