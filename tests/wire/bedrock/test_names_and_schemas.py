"""Names, ids and schemas within Bedrock's rules."""

import re

import pytest
from pydantic import BaseModel, Field

from core.llm.providers.bedrock.config import BedrockConfig
from core.llm.providers.bedrock.naming import base_model, model_path, tool_names_back, wire_tool_id, wire_tool_name
from core.llm.providers.bedrock.provider import BedrockProvider
from core.llm.providers.bedrock.schema import closed_schema
from core.llm.testing import provider_services

ALLOWED = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@pytest.mark.parametrize("name", ["weather", "a" * 64, "my.tool", "größe", "a" * 65, "a b", "..", ""])
def test_every_name_and_id_has_an_allowed_form(name):
    """An allowed one stays; any other gets a stand-in that is always the same, and no two share one."""
    for stand_in in (wire_tool_name, wire_tool_id):
        wire = stand_in(name)
        assert ALLOWED.fullmatch(wire)
        assert wire == stand_in(name)
        assert (wire == name) == bool(ALLOWED.fullmatch(name))
    assert wire_tool_name("a.b") != wire_tool_name("a b")
    assert tool_names_back([name, "plain"]) == ({} if ALLOWED.fullmatch(name) else {wire_tool_name(name): name})


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("us-gov.anthropic.claude-x", "anthropic.claude-x"),
        ("anthropic.claude-x", "anthropic.claude-x"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("arn:aws-cn:bedrock:cn-north-1:1:inference-profile/eu.meta.llama3-1", "meta.llama3-1"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"),
    ],
)  # fmt: skip
def test_the_model_behind_a_profile_is_found(model, base):
    """Facts are those of the foundation model; an application's own profile does not say which it is."""
    assert base_model(model) == base


def test_facts_are_known_by_every_name():
    """Of a profile, a version, an ARN."""
    provider = BedrockProvider(BedrockConfig(region="us-east-1"), provider_services())
    for model in ("anthropic.claude-opus-5-5", "global.anthropic.claude-opus-5-5-v1:0"):
        assert provider.facts(model).quirks["thinking"] == "adaptive"
        assert provider.facts(model) is provider.facts(model)
    assert provider.facts("us.anthropic.claude-haiku-4-5-20251001-v1:0").max_output_tokens == 64_000
    assert not provider.facts("brand.new-model").capabilities


def test_dots_alone_are_no_path():
    """Nothing between here and AWS may take them for a folder."""
    assert model_path("..", "converse") == "/model/%2E%2E/converse"


def test_a_schema_is_closed_and_freed_of_constraints():
    """At every depth; names of properties are no keywords."""

    class Item(BaseModel):
        minimum: int = Field(ge=3, le=9)
        title: str = Field("x", max_length=5)

    class Order(BaseModel):
        items: list[Item] = Field(min_length=2, max_length=4)

    weakened = set()
    closed = closed_schema(Order.model_json_schema(), weakened)
    item = closed["$defs"]["Item"]
    assert item["additionalProperties"] is closed["additionalProperties"] is False
    assert item["properties"] == {"minimum": {"type": "integer"}, "title": {"type": "string"}}
    assert closed["properties"]["items"] == {"type": "array", "items": {"$ref": "#/$defs/Item"}}
    assert weakened == {"minimum", "maximum", "maxLength", "minItems", "maxItems"}


@pytest.mark.parametrize(
    "schema",
    [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object", "additionalProperties": True},
     {"oneOf": []}, {"type": "array", "items": True}, {"type": "object", "patternProperties": {}}],
)  # fmt: skip
def test_a_schema_that_cannot_be_closed_is_not_sent_as_one(schema):
    """It is then described in words instead."""
    assert closed_schema(schema) is None
