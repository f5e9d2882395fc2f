"""JSON schemas for servers that turn them into a grammar, as llama.cpp does.

Such a server takes nearly every schema, but refuses the whole of it for one regular expression it has no grammar for.
Those are left out and named; the caller's own schema stays what answers are validated against.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

_MAPS: Final = frozenset({"properties", "$defs", "definitions"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE: Final = frozenset({"items", "additionalProperties"})
# Groups with a question mark (looking around, naming), classes such as \w within brackets aside, and boundaries.
_NO_GRAMMAR: Final = re.compile(r"\(\?|\\[bBAzZGpPkuUx1-9]|[*+?}][?+]")


def grammar_schema(schema: Mapping[str, Any], weakened: set[str]) -> Mapping[str, Any]:
    """*schema* without patterns that have no grammar; the names of keywords that were left out go to *weakened*."""
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "pattern" and not has_grammar(value):
            weakened.add(key)
        elif key in _MAPS and isinstance(value, Mapping):
            out[key] = {name: _child(child, weakened) for name, child in value.items()}
        elif key in _LISTS and isinstance(value, list):
            out[key] = [_child(child, weakened) for child in value]
        elif key in _SINGLE:
            out[key] = _child(value, weakened)
        elif key not in {"discriminator", "examples"}:
            out[key] = value
    return out


def has_grammar(pattern: object) -> bool:
    """Whether a regular expression can become a grammar: tied to both ends, and nothing that looks around."""
    return (
        isinstance(pattern, str)
        and pattern.startswith("^")
        and pattern.endswith("$")
        and _NO_GRAMMAR.search(pattern) is None
    )


def _child(child: Any, weakened: set[str]) -> Any:
    return grammar_schema(child, weakened) if isinstance(child, Mapping) else child
