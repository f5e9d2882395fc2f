"""Schemas for servers that read a part of JSON Schema: Gemini, and those that make a grammar of it."""

from typing import Any

import pytest

from core.llm.dialects.gemini_json_schema import gemini_json_schema
from core.llm.dialects.grammar_schema import grammar_schema, has_grammar


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ("^[a-z]+$", True),
        (r"^\d{4}-\d{2}$", True),
        ("^(a|b)?c*$", True),
        ("[a-z]+", False),
        ("^[a-z]+", False),
        (r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", False),
        ("^(?:a|b)$", False),
        (r"^\bword$", False),
        (r"^(a)\1$", False),
        ("^a+?$", False),
        (3, False),
    ],
)
def test_patterns_without_a_grammar_are_left_out_and_named(pattern: Any, taken: bool) -> None:
    """One of them would make the server refuse the whole schema."""
    assert has_grammar(pattern) is taken
    weakened: set[str] = set()
    schema = {"type": "object", "properties": {"a": {"anyOf": [{"type": "string", "pattern": pattern}]}}}
    sent = grammar_schema(schema, weakened)
    assert ("pattern" in sent["properties"]["a"]["anyOf"][0]) is taken
    assert weakened == (set() if taken else {"pattern"})
    assert schema["properties"]["a"]["anyOf"][0]["pattern"] == pattern  # type: ignore[index]  # as it was made above


def test_a_property_may_be_called_like_a_keyword() -> None:
    """Names are not keywords."""
    schema = {"type": "object", "properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}}}
    for rewrite in (grammar_schema, gemini_json_schema):
        weakened: set[str] = set()
        assert rewrite(schema, weakened) == schema
        assert weakened == set()


def test_gemini_gets_what_it_reads_and_the_rest_in_words() -> None:
    """A constant is an enumeration of one; a reference has no neighbours."""
    weakened: set[str] = set()
    schema = {
        "$defs": {"n": {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}},
        "type": "object",
        "properties": {
            "kind": {"const": "a", "type": "string", "default": "a"},
            "n": {"$ref": "#/$defs/n", "description": "how many"},
            "text": {"type": "string", "minLength": 2, "description": "what"},
            "more": {"type": "object", "additionalProperties": {"type": "string", "pattern": "^a$"}},
        },
    }
    assert gemini_json_schema(schema, weakened) == {
        "$defs": {"n": {"type": "integer", "minimum": 1, "description": "exclusiveMaximum: 9"}},
        "type": "object",
        "properties": {
            "kind": {"enum": ["a"], "type": "string"},
            "n": {"$ref": "#/$defs/n"},
            "text": {"type": "string", "description": "what (minLength: 2)"},
            "more": {"type": "object", "additionalProperties": {"type": "string", "description": 'pattern: "^a$"'}},
        },
    }
    assert weakened == {"exclusiveMaximum", "minLength", "pattern"}
