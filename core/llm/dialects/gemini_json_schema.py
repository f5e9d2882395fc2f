"""JSON schemas within what Gemini's `responseJsonSchema` reads.

It takes real JSON schemas, and reads a part of them. What it does not read moves into the description, where the model
sees it; the caller's own schema stays what answers are validated against.
"""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.dialects.json import encode_json

_MAPS: Final = frozenset({"properties", "$defs"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "prefixItems"})
_KEPT: Final = frozenset(
    {"$id", "$ref", "$anchor", "type", "format", "title", "description", "enum", "minItems", "maxItems", "minimum",
     "maximum", "required", "propertyOrdering"}
)  # fmt: skip
_SILENT: Final = frozenset({"default", "examples", "discriminator", "$schema", "deprecated", "readOnly", "writeOnly"})


def gemini_json_schema(schema: Mapping[str, Any], weakened: set[str]) -> dict[str, Any]:
    """*schema* as it is sent; the keywords that became mere words in a description are added to *weakened*."""
    if "$ref" in schema:
        # A reference may have no neighbours there but those that begin with a dollar sign.
        return {
            key: _child_map(value, weakened) if key == "$defs" else value
            for key, value in schema.items()
            if key[0] == "$"
        }
    out: dict[str, Any] = {}
    spoken: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, Mapping):
            out[key] = _child_map(value, weakened)
        elif key in _LISTS and isinstance(value, list):
            out[key] = [_child(child, weakened) for child in value]
        elif key in {"items", "additionalProperties"}:
            out[key] = _child(value, weakened)
        elif key == "const":
            out["enum"] = [value]
        elif key in _KEPT:
            out[key] = value
        elif key not in _SILENT:
            spoken[key] = value
    if spoken:
        weakened.update(spoken)
        words = ", ".join(f"{key}: {encode_json(value).decode()}" for key, value in spoken.items())
        out["description"] = f"{out['description']} ({words})" if out.get("description") else words
    return out


def _child_map(children: Mapping[str, Any], weakened: set[str]) -> dict[str, Any]:
    return {name: _child(child, weakened) for name, child in children.items()}


def _child(child: Any, weakened: set[str]) -> Any:
    return gemini_json_schema(child, weakened) if isinstance(child, Mapping) else child
