"""JSON schemas rewritten to the rules of OpenAI's strict mode.

There, every object names all its properties as required and allows no others. What was optional must therefore always
be written; a field that had `null` as its default already says so in its type. A rule that strict mode does not know
moves into the description, where the model reads it. The caller's own schema stays what answers are validated against.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from core.llm.dialects.json import encode_json

_INEXPRESSIBLE: Final = frozenset(
    {"patternProperties", "propertyNames", "unevaluatedProperties", "not", "if", "then", "else", "dependentRequired",
     "dependentSchemas", "prefixItems", "contains"}
)  # fmt: skip
_KEPT: Final = frozenset(
    {"$ref", "type", "title", "description", "enum", "const", "required", "additionalProperties", "minimum", "maximum",
     "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"}
)  # fmt: skip
_FORMATS: Final = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_SILENT: Final = frozenset(
    {"default", "examples", "discriminator", "deprecated", "readOnly", "writeOnly", "$schema", "$id", "$comment"}
)
"""Left out without a word: they change nothing about which answers are right."""
_CHILDREN: Final = frozenset({"properties", "$defs", "definitions"})
_LOOK_AROUND: Final = re.compile(r"\(\?<?[=!]|\\[1-9]")


def strict_schema(schema: Mapping[str, Any], weakened: set[str] | None = None) -> dict[str, Any] | None:
    """*schema* in strict form, or `None` where strict mode has no way to say the same.

    The keywords that became mere words in a description are added to *weakened*.
    """
    try:
        return _Rewriting(schema, set() if weakened is None else weakened).node(schema, ())
    except _Inexpressible:
        return None


def is_plain_pattern(pattern: object) -> bool:
    """Whether a regular expression does without what strict mode refuses: looking around, and back references."""
    return isinstance(pattern, str) and _LOOK_AROUND.search(pattern) is None


class _Inexpressible(Exception):
    pass


class _Rewriting:
    def __init__(self, root: Mapping[str, Any], weakened: set[str]) -> None:
        self._root = root
        self._weakened = weakened

    def node(self, node: Any, trail: tuple[str, ...]) -> dict[str, Any]:
        """*node* in strict form; *trail* holds the references that were replaced by what they point to."""
        if not isinstance(node, Mapping) or not node or not _INEXPRESSIBLE.isdisjoint(node):
            raise _Inexpressible
        reference = node.get("$ref")
        if isinstance(reference, str):
            neighbours = {key: value for key, value in node.items() if key != "$ref" and key not in _SILENT}
            # A reference may have no neighbours there: it is replaced by what it points to, unless that has no end.
            if not neighbours or reference in trail:
                self._resolve(reference)
                return {"$ref": reference}
            return self.node({**self._resolve(reference), **neighbours}, (*trail, reference))
        parts = node.get("allOf")
        if isinstance(parts, list):
            if len(parts) != 1 or not isinstance(parts[0], Mapping):
                raise _Inexpressible
            return self.node({**{k: v for k, v in node.items() if k != "allOf"}, **parts[0]}, trail)
        strict: dict[str, Any] = {}
        spoken: dict[str, Any] = {}
        for key, value in node.items():
            if key in _CHILDREN and isinstance(value, Mapping):
                strict[key] = {name: self.node(child, trail) for name, child in value.items()}
            elif key == "items":
                strict[key] = self.node(value, trail)
            elif key in {"anyOf", "oneOf"} and isinstance(value, list):
                strict["anyOf"] = [self.node(child, trail) for child in value]
            elif (
                key in _KEPT
                or (key == "format" and value in _FORMATS)
                or (key == "pattern" and is_plain_pattern(value))
            ):
                strict[key] = value
            elif key not in _SILENT:
                spoken[key] = value
        if spoken:
            self._weakened.update(spoken)
            words = ", ".join(f"{key}: {encode_json(value).decode()}" for key, value in spoken.items())
            strict["description"] = f"{strict['description']} ({words})" if strict.get("description") else words
        if strict.get("type") == "object" or "properties" in strict:
            if strict.get("additionalProperties", False) not in (False, None):
                raise _Inexpressible
            strict.setdefault("properties", {})
            strict["additionalProperties"] = False
            strict["required"] = list(strict["properties"])
        elif strict.get("type") == "array" and "items" not in strict:
            raise _Inexpressible
        elif strict.keys().isdisjoint({"type", "anyOf", "enum", "const"}):
            # Any value at all: strict mode wants to know which.
            raise _Inexpressible
        return strict

    def _resolve(self, reference: str) -> Mapping[str, Any]:
        node: Any = self._root
        if not reference.startswith("#"):
            raise _Inexpressible
        for step in reference.removeprefix("#").removeprefix("/").split("/") if len(reference) > 1 else ():
            node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
        if not isinstance(node, Mapping):
            raise _Inexpressible
        return node
