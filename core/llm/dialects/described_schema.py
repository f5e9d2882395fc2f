"""The shape of an answer in words, for models that cannot be held to it."""

from collections.abc import Mapping
from typing import Any

from core.llm.dialects.json import encode_json


def describe_schema(schema: Mapping[str, Any] | None) -> str:
    """What the model is told; `None` is any object."""
    is_object = schema is None or schema.get("type") == "object" or not schema.keys().isdisjoint({"properties", "$ref"})
    text = f"Answer with one JSON {'object' if is_object else 'value'} and nothing else."
    return text if schema is None else f"{text} It must fit this JSON schema: {encode_json(schema).decode()}"
