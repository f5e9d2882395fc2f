"""JSON schemas in the subset of OpenAPI that older Gemini models take."""

from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from core.llm.dialects.gemini_schema import Inexpressible, openapi_schema


class Colour(Enum):
    """Two of them."""

    RED = "red"
    BLUE = "blue"


class Wheel(BaseModel):
    """A part."""

    size: int = Field(gt=0, le=30)


class Car(BaseModel):
    """A model with most of what there is."""

    name: str
    colour: Colour
    kind: Literal["small", "big"]
    wheels: list[Wheel] = Field(min_length=1)
    spare: Wheel | None = None
    price: int | float
    pair: tuple[int, str]
    extra: dict[str, str] = {}


def test_a_pydantic_model() -> None:
    """Types in capitals, references replaced, null as a flag, and what was lost is named."""
    schema, lost = openapi_schema(Car.model_json_schema())
    wheel = schema["properties"]["wheels"]["items"]
    assert schema["type"] == "OBJECT"
    assert schema["propertyOrdering"] == list(Car.model_fields)
    assert schema["required"] == ["name", "colour", "kind", "wheels", "price", "pair"]
    assert (wheel["properties"]["size"]["minimum"], wheel["properties"]["size"]["maximum"]) == (1, 30)
    assert schema["properties"]["colour"]["enum"] == ["red", "blue"]
    assert schema["properties"]["kind"] == {"type": "STRING", "enum": ["small", "big"], "title": "Kind"}
    assert schema["properties"]["spare"]["nullable"] is True
    assert schema["properties"]["spare"]["type"] == "OBJECT"
    assert schema["properties"]["price"]["anyOf"] == [{"type": "INTEGER"}, {"type": "NUMBER"}]
    assert schema["properties"]["pair"]["items"] == {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]}
    assert lost == ("prefixItems",)
    assert "$" not in str(schema)


@pytest.mark.parametrize(
    ("schema", "wanted", "lost"),
    [
        ({"type": "string", "format": "uuid"}, {"type": "STRING"}, ("format",)),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}, ()),
        ({"const": "a"}, {"type": "STRING", "enum": ["a"]}, ()),
        ({"enum": [1, 2]}, {"type": "INTEGER"}, ("enum",)),
        ({"enum": ["a", None]}, {"type": "STRING", "enum": ["a"], "nullable": True}, ()),
        ({"type": "number", "exclusiveMinimum": 0}, {"type": "NUMBER", "minimum": 0}, ("exclusiveMinimum",)),
        ({"type": ["integer", "string"]}, {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]}, ()),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}, ()),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"nullable": True, "type": "STRING"}, ()),
        ({"not": {}}, {}, ("not",)),
        (
            {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}]},
            {
                "type": "OBJECT",
                "properties": {"a": {"type": "STRING"}},
                "required": ["a", "b"],
                "propertyOrdering": ["a"],
            },
            (),
        ),
    ],
)
def test_single_rules(schema: dict[str, Any], wanted: dict[str, Any], lost: tuple[str, ...]) -> None:
    """One keyword each."""
    assert openapi_schema(schema) == (wanted, lost)


@pytest.mark.parametrize("reference", ["#", "#/$defs/node", "#/$defs/missing", "http://elsewhere/x"])
def test_references_without_end_or_target(reference: str) -> None:
    """Have no form here."""
    schema = {"$defs": {"node": {"properties": {"next": {"$ref": reference}}}}, "$ref": "#/$defs/node"}
    with pytest.raises(Inexpressible):
        openapi_schema(schema)
