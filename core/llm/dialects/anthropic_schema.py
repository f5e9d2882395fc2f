"""JSON schemas within the rules of Claude's structured output.

Objects allow no properties beyond their own, and constraints on values are not enforced: they move into the
description, where the model reads them. The caller's own schema stays what answers are validated against.
"""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.dialects.json import encode_json

_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_KEPT: Final = frozenset({"type", "description", "title", "enum", "const", "required", "$ref"})
_SILENT: Final = frozenset({"default", "examples", "additionalProperties", "$schema", "discriminator"})
_INEXPRESSIBLE: Final = frozenset(
    {"patternProperties", "propertyNames", "not", "if", "then", "else", "prefixItems", "dependentSchemas"}
)
_MAX_DEPTH: Final = 60


def claude_schema(schema: Mapping[str, Any], weakened: set[str] | None = None) -> dict[str, Any] | None:
    """*schema* in the form the API accepts, or `None` where that form has no way to say the same.

    The keywords that became mere words in a description are added to *weakened*.
    """
    if _is_recursive(schema):
        return None
    try:
        return _rewrite(schema, 0, set() if weakened is None else weakened)
    except _Inexpressible:
        return None


class _Inexpressible(Exception):
    pass


def _rewrite(node: Any, depth: int, weakened: set[str]) -> dict[str, Any]:
    if not isinstance(node, Mapping) or not node or depth > _MAX_DEPTH or not _INEXPRESSIBLE.isdisjoint(node):
        raise _Inexpressible
    out: dict[str, Any] = {}
    spoken: dict[str, Any] = {}
    for key, value in node.items():
        if key in {"properties", "$defs", "definitions"} and isinstance(value, Mapping):
            out[key] = {name: _rewrite(child, depth + 1, weakened) for name, child in value.items()}
        elif key == "items":
            out[key] = _rewrite(value, depth + 1, weakened)
        elif key in {"anyOf", "oneOf", "allOf"} and isinstance(value, list):
            out["allOf" if key == "allOf" else "anyOf"] = [_rewrite(child, depth + 1, weakened) for child in value]
        elif key in _KEPT or (key == "format" and value in _FORMATS) or (key == "minItems" and value in {0, 1}):
            out[key] = value
        elif key not in _SILENT:
            spoken[key] = value
    if out.keys().isdisjoint({"type", "anyOf", "allOf", "$ref", "enum", "const"}):
        raise _Inexpressible
    if out.get("type") == "object" or "properties" in out:
        if node.get("additionalProperties", False) not in (False, None) or "properties" not in out:
            # A dictionary with free keys: closing it would leave an object that is always empty.
            raise _Inexpressible
        out["additionalProperties"] = False
    weakened.update(spoken)
    if spoken and "$ref" not in out:
        text = ", ".join(f"{key}: {encode_json(value).decode()}" for key, value in spoken.items())
        out["description"] = f"{out['description']} ({text})" if out.get("description") else text
    return out


def _is_recursive(schema: Mapping[str, Any]) -> bool:
    """Whether a definition leads back to itself, or a reference to the root."""
    definitions: dict[str, Any] = {}
    for key in ("$defs", "definitions"):
        found = schema.get(key)
        if isinstance(found, Mapping):
            definitions.update({f"#/{key}/{name}": node for name, node in found.items()})
    edges = {name: _references(node) for name, node in definitions.items()}
    for start, leads_to in edges.items():
        seen: set[str] = set()
        todo = set(leads_to)
        while todo:
            name = todo.pop()
            if name == start:
                return True
            seen.add(name)
            todo |= edges.get(name, set()) - seen
    return "#" in _references(schema)


def _references(node: Any) -> set[str]:
    found: set[str] = set()
    todo = [node]
    while todo:
        one = todo.pop()
        if isinstance(one, Mapping):
            if isinstance(one.get("$ref"), str):
                found.add(one["$ref"])
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
    return found
