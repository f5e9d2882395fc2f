"""The shape of an answer for models that cannot be held to it: its name, and in words."""

import re
from collections.abc import Mapping
from typing import Any, Final

from core.llm.dialects.json import encode_json
from core.llm.providers.base.request import ResponseFormat

_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


def schema_name(wanted: ResponseFormat, longest: int = 64) -> str:
    """The name of *wanted* in letters that every provider takes."""
    return _NOT_A_NAME.sub("_", wanted.name)[:longest] or "answer"


def describe_schema(schema: Mapping[str, Any] | None) -> str:
    """What the model is told; `None` is any object."""
    is_object = schema is None or schema.get("type") == "object" or not schema.keys().isdisjoint({"properties", "$ref"})
    text = f"Answer with one JSON {'object' if is_object else 'value'} and nothing else."
    return text if schema is None else f"{text} It must fit this JSON schema: {encode_json(schema).decode()}"
