"""JSON schemas within the rules of Bedrock's structured output and strict tools.

Objects must be closed, and constraints on numbers, lengths and counts are refused: they are left out here and checked
on our side, against the caller's own schema.
"""

from collections.abc import Mapping
from typing import Any, Final

_REFUSED: Final = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
        "maxItems", "uniqueItems", "minProperties", "maxProperties", "default", "title",
    }
)  # fmt: skip
_NAMED: Final = frozenset({"properties", "$defs", "definitions"})


def closed_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """*schema* by those rules, or `None` where they cannot express it: open objects, recursion."""
    try:
        return _closed(schema, 0)
    except _Inexpressible:
        return None


class _Inexpressible(Exception):
    pass


def _closed(node: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > 60:
        raise _Inexpressible
    closed: dict[str, Any] = {}
    for key, value in node.items():
        if key in _REFUSED or (key == "minItems" and value not in {0, 1}):
            continue
        if key in _NAMED and isinstance(value, Mapping):
            closed[key] = {name: _child(child, depth) for name, child in value.items()}
        elif key == "items":
            closed[key] = _child(value, depth)
        elif key in {"anyOf", "allOf"} and isinstance(value, list):
            closed[key] = [_child(child, depth) for child in value]
        elif key in {"oneOf", "not", "if", "then", "else", "patternProperties", "prefixItems"}:
            raise _Inexpressible
        else:
            closed[key] = value
    if closed.get("type") == "object" or "properties" in closed:
        if closed.get("additionalProperties", False) is not False:
            raise _Inexpressible
        closed["additionalProperties"] = False
    return closed


def _child(child: Any, depth: int) -> dict[str, Any]:
    if not isinstance(child, Mapping):
        raise _Inexpressible
    return _closed(child, depth + 1)
