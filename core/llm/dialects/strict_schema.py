"""JSON schemas rewritten to the rules of OpenAI's strict mode.

There, every object names all its properties as required and allows no others. What was optional must therefore always
be written; a field that had `null` as its default already says so in its type. The caller's own schema stays what
answers are validated against.
"""

from collections.abc import Mapping
from typing import Any, Final

_UNSUPPORTED: Final = frozenset(
    {"patternProperties", "propertyNames", "unevaluatedProperties", "not", "if", "then", "else", "dependentRequired",
     "dependentSchemas", "oneOf", "prefixItems", "contains", "uniqueItems"}
)  # fmt: skip
_CHILDREN: Final = frozenset({"properties", "$defs", "definitions"})


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """*schema* in strict form, or `None` where strict mode has no way to say the same."""
    try:
        return _strict(schema, schema, 0)
    except _Inexpressible:
        return None


class _Inexpressible(Exception):
    pass


def _strict(node: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > 60:
        raise _Inexpressible
    if not _UNSUPPORTED.isdisjoint(node):
        raise _Inexpressible
    reference = node.get("$ref")
    if isinstance(reference, str) and len(node) > 1:
        # A reference may have no neighbours there: it is replaced by what it points to.
        return _strict({**_resolve(reference, root), **{k: v for k, v in node.items() if k != "$ref"}}, root, depth + 1)
    parts = node.get("allOf")
    if isinstance(parts, list):
        if len(parts) != 1 or not isinstance(parts[0], Mapping):
            raise _Inexpressible
        return _strict({**{k: v for k, v in node.items() if k != "allOf"}, **parts[0]}, root, depth + 1)
    strict: dict[str, Any] = {}
    for key, value in node.items():
        if key == "default":
            continue
        if key in _CHILDREN and isinstance(value, Mapping):
            strict[key] = {name: _child(child, root, depth) for name, child in value.items()}
        elif key == "items":
            strict[key] = _child(value, root, depth)
        elif key == "anyOf" and isinstance(value, list):
            strict[key] = [_child(child, root, depth) for child in value]
        else:
            strict[key] = value
    if strict.get("type") == "object" or "properties" in strict:
        if strict.get("additionalProperties", False) not in (False, None):
            raise _Inexpressible
        strict.setdefault("properties", {})
        strict["additionalProperties"] = False
        strict["required"] = list(strict["properties"])
    return strict


def _child(child: Any, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if not isinstance(child, Mapping) or not child:
        raise _Inexpressible
    return _strict(child, root, depth + 1)


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    node: Any = root
    for step in reference.removeprefix("#/").split("/"):
        node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or not reference.startswith("#"):
        raise _Inexpressible
    return node
