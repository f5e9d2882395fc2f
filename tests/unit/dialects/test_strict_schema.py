"""Schemas follow OpenAI's strict rules, or are declared impossible to rewrite."""

from typing import Any

import pytest
from pydantic import BaseModel, Field

from core.llm.dialects.strict_schema import strict_schema


class Street(BaseModel):
    name: str
    number: int | None = None


class Town(BaseModel):
    title: str = Field(default="x", description="its name")
    main: Street = Field(description="the longest")
    others: list[Street] = []


def objects(node: Any) -> list[dict[str, Any]]:
    """Every object schema inside."""
    found = [node] if isinstance(node, dict) and "properties" in node else []
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return found + [inner for child in children for inner in objects(child)]


def test_every_object_names_all_its_properties_and_allows_no_other() -> None:
    """Nested, in lists and behind references."""
    strict = strict_schema(Town.model_json_schema())
    assert strict is not None
    assert len(objects(strict)) >= 2
    for one in objects(strict):
        assert one["required"] == list(one["properties"])
        assert one["additionalProperties"] is False
    assert "default" not in str(strict)


def test_a_reference_with_neighbours_is_written_out() -> None:
    """The description beside it is kept."""
    strict = strict_schema(Town.model_json_schema())
    assert strict is not None
    assert strict["properties"]["main"]["description"] == "the longest"
    assert "$ref" not in strict["properties"]["main"]


def test_the_callers_schema_is_not_touched() -> None:
    """It is what answers are validated against."""
    schema = Town.model_json_schema()
    before = Town.model_json_schema()
    strict_schema(schema)
    assert schema == before


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "patternProperties": {"^a": {"type": "string"}}},
        {"allOf": [{"type": "object"}, {"type": "object"}]},
        {"type": "array", "prefixItems": [{"type": "string"}]},
        {"title": "Anything"},
        {"$ref": "https://x/y", "description": "z"},
        {"type": "array", "items": True},
    ],
)
def test_what_strict_mode_cannot_say_is_not_bent(schema: dict[str, Any]) -> None:
    """Better no guarantee than another schema."""
    assert strict_schema(schema) is None


def test_a_schema_that_contains_itself_comes_to_an_end() -> None:
    """Also where the reference has neighbours: inside itself they are given up."""
    node = {"$ref": "#/$defs/n", "description": "again"}
    schema = {"$defs": {"n": {"type": "object", "properties": {"next": node}}}, **node}
    strict = strict_schema(schema)
    assert strict is not None
    assert strict["description"] == "again"
    assert strict["properties"]["next"] == {"$ref": "#/$defs/n"}
    assert strict["$defs"]["n"]["properties"]["next"] == {"$ref": "#/$defs/n"}
    assert strict_schema({"type": "object", "properties": {"next": {"$ref": "#"}}}) is not None


def test_alternatives_are_alternatives_whatever_they_are_called() -> None:
    """Discriminated unions come as oneOf with a hint for readers, which strict mode refuses."""
    schema = {"oneOf": [{"type": "string"}, {"type": "null"}], "discriminator": {"propertyName": "kind"}}
    assert strict_schema(schema) == {"anyOf": [{"type": "string"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("schema", "lost"),
    [
        ({"type": "string", "minLength": 2}, {"minLength"}),
        ({"type": "string", "pattern": "^(?!x).*$"}, {"pattern"}),
        ({"type": "string", "pattern": r"(a)\1"}, {"pattern"}),
        ({"type": "string", "pattern": "^a+$"}, set()),
        ({"type": "string", "format": "binary"}, {"format"}),
        ({"type": "string", "format": "date"}, set()),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, {"uniqueItems"}),
        ({"type": "integer", "minimum": 1, "multipleOf": 5}, set()),
        ({"type": "string", "examples": ["a"], "default": "b"}, set()),
    ],
)
def test_rules_that_strict_mode_does_not_know_become_words_and_are_named(
    schema: dict[str, Any], lost: set[str]
) -> None:
    """The model still reads them, and the caller learns what only we check."""
    weakened: set[str] = set()
    strict = strict_schema(schema, weakened)
    assert strict is not None
    assert weakened == lost
    assert all(key not in strict and key in strict["description"] for key in lost)
