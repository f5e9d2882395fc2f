"""JSON schemas rewritten to the subset of OpenAPI that `responseSchema` and `parameters` take.

There, types are written in capitals, `null` is a flag, references do not exist, and most keywords are unknown. What has
no form is left out and named; the caller's own schema stays what answers are validated against.
"""

from collections.abc import Mapping
from typing import Any, Final

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "array", "object"})
_KEPT: Final = frozenset(
    {"title", "description", "minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength",
     "pattern", "minimum", "maximum", "required", "propertyOrdering", "nullable", "example"}
)  # fmt: skip
_FORMATS: Final = {
    "string": frozenset({"enum", "date-time"}),
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
}
_SILENT: Final = frozenset({"$schema", "$id", "$defs", "definitions", "additionalProperties", "default", "examples"})
"""Left out without a word: they change nothing about which answers are wanted, or stand for what follows them."""


class Inexpressible(Exception):
    """The schema refers to itself: it has no end without references."""


def openapi_schema(schema: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """*schema* in the subset, and the keywords that had to be left out.

    Raises:
        Inexpressible: it refers to itself.
    """
    lost: set[str] = set()
    return _convert(schema, schema, lost, ()), tuple(sorted(lost))


def _convert(
    node: Mapping[str, Any], root: Mapping[str, Any], lost: set[str], trail: tuple[str, ...]
) -> dict[str, Any]:
    reference = node.get("$ref")
    if isinstance(reference, str):
        if reference in trail:
            raise Inexpressible
        target = _resolve(reference, root)
        neighbours = {key: value for key, value in node.items() if key != "$ref"}
        return _convert({**target, **neighbours}, root, lost, (*trail, reference))
    parts = node.get("allOf")
    if isinstance(parts, list):
        return _convert(_merged(node, parts, root), root, lost, trail)
    out: dict[str, Any] = {}
    _type(node, out, lost)
    for key, value in node.items():
        if key in _KEPT:
            out[key] = value
        elif key == "properties" and isinstance(value, Mapping):
            out["properties"] = {name: _child(child, root, lost, trail) for name, child in value.items()}
        elif key == "items":
            out["items"] = _child(value, root, lost, trail)
        elif key == "prefixItems" and isinstance(value, list):
            _tuple(value, root, lost, trail, out)
        elif key in {"anyOf", "oneOf"} and isinstance(value, list):
            _any_of(value, root, lost, trail, out)
        elif key in {"enum", "const"}:
            _enum([value] if key == "const" else value, out, lost)
        elif key == "format":
            if value in _FORMATS.get(str(out.get("type", "")).lower(), ()):
                out["format"] = value
            else:
                lost.add(key)
        elif key in {"exclusiveMinimum", "exclusiveMaximum"} and isinstance(value, int | float):
            _exclusive(key, value, out, lost)
        elif key not in {"type", *_SILENT}:
            lost.add(key)
    if "properties" in out:
        out.setdefault("type", "OBJECT")
        out.setdefault("propertyOrdering", list(out["properties"]))
    elif out.get("type") == "ARRAY":
        out.setdefault("items", {"type": "STRING"} if node.get("items") is None else out.get("items"))
    return out


def _type(node: Mapping[str, Any], out: dict[str, Any], lost: set[str]) -> None:
    kind = node.get("type")
    kinds = kind if isinstance(kind, list) else [kind] if isinstance(kind, str) else []
    plain = [one for one in kinds if one in _TYPES]
    if "null" in kinds:
        out["nullable"] = True
    if len(plain) == 1:
        out["type"] = plain[0].upper()
    elif plain:
        out["anyOf"] = [{"type": one.upper()} for one in plain]
    elif len(plain) < len([one for one in kinds if one != "null"]):
        lost.add("type")


def _any_of(
    options: list[Any], root: Mapping[str, Any], lost: set[str], trail: tuple[str, ...], out: dict[str, Any]
) -> None:
    real = [one for one in options if not (isinstance(one, Mapping) and one.get("type") == "null")]
    if len(real) < len(options):
        out["nullable"] = True
    converted = [_child(one, root, lost, trail) for one in real]
    if len(converted) == 1:
        for key, value in converted[0].items():
            out.setdefault(key, value)
    elif converted:
        out["anyOf"] = converted


def _tuple(
    items: list[Any], root: Mapping[str, Any], lost: set[str], trail: tuple[str, ...], out: dict[str, Any]
) -> None:
    converted = [_child(one, root, lost, trail) for one in items]
    different = [one for number, one in enumerate(converted) if one not in converted[:number]]
    out["items"] = different[0] if len(different) == 1 else {"anyOf": different}
    if len(different) > 1:
        lost.add("prefixItems")


def _enum(values: Any, out: dict[str, Any], lost: set[str]) -> None:
    if not isinstance(values, list):
        return
    named = [one for one in values if one is not None]
    if len(named) < len(values):
        out["nullable"] = True
    if named and all(isinstance(one, str) for one in named):
        out["type"], out["enum"] = "STRING", named
    elif named:
        if "type" not in out:
            kind = {bool: "BOOLEAN", int: "INTEGER", float: "NUMBER", str: "STRING"}.get(type(named[0]))
            if kind is not None:
                out["type"] = kind
        lost.add("enum")


def _exclusive(key: str, value: float, out: dict[str, Any], lost: set[str]) -> None:
    inclusive = "minimum" if key == "exclusiveMinimum" else "maximum"
    if out.get("type") == "INTEGER" and isinstance(value, int):
        out[inclusive] = value + 1 if inclusive == "minimum" else value - 1
    else:
        out[inclusive] = value
        lost.add(key)


def _child(child: Any, root: Mapping[str, Any], lost: set[str], trail: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(child, Mapping):
        return {}
    if len(trail) > 60:
        raise Inexpressible
    return _convert(child, root, lost, trail)


def _merged(node: Mapping[str, Any], parts: list[Any], root: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {key: value for key, value in node.items() if key != "allOf"}
    for part in parts:
        if not isinstance(part, Mapping):
            continue
        reference = part.get("$ref")
        whole = {**_resolve(reference, root), **part} if isinstance(reference, str) else dict(part)
        whole.pop("$ref", None)
        for key, value in whole.items():
            known = merged.get(key)
            if key == "properties" and isinstance(known, Mapping) and isinstance(value, Mapping):
                merged[key] = {**known, **value}
            elif key == "required" and isinstance(known, list) and isinstance(value, list):
                merged[key] = list(dict.fromkeys([*known, *value]))
            else:
                merged.setdefault(key, value)
    return merged


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    node: Any = root
    if reference == "#":
        return root
    for step in reference.removeprefix("#/").split("/"):
        node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or not reference.startswith("#"):
        raise Inexpressible
    return node
