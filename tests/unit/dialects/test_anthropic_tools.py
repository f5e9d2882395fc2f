"""Tools, the choice among them, and structured output in the Messages format."""

from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from core.llm.common.types import ModelFacts
from core.llm.dialects.anthropic_schema import claude_schema
from core.llm.testing.anthropic_rules import check_schema
from tests.unit.dialects.anthropic_support import (
    START,
    STOP,
    answer,
    block,
    body_of,
    chat,
    collected,
    decoded,
    ending,
    sse,
    warned,
)

WEATHER = {"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}  # fmt: skip
OLD = ModelFacts(quirks={"structured": "tool", "thinking": "budget"})
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"], "title": "Count"}
ANY_DICT = {"type": "object", "properties": {"m": {"type": "object", "additionalProperties": {"type": "string"}}}}


def test_tools_are_sent_as_they_are() -> None:
    """Nothing is added that was not asked for."""
    body = body_of(chat(tools=[WEATHER, {"name": "now"}]))
    assert body["tools"] == [
        {"name": "weather", "description": "Now.", "input_schema": WEATHER["parameters"]},
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in body


CHOICES = [
    ({"tool_choice": "auto"}, {"type": "auto"}),
    ({"tool_choice": "none"}, {"type": "none"}),
    ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
    ({"tool_choice": "required"}, {"type": "any"}),
    ({"tool_choice": "weather"}, {"type": "tool", "name": "weather"}),
    ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
    ({"parallel_tool_calls": True}, None),
    ({"tool_choice": "required", "parallel_tool_calls": False}, {"type": "any", "disable_parallel_tool_use": True}),
]


@pytest.mark.parametrize(("asked", "sent"), CHOICES)
def test_the_choice_is_put_into_the_words_of_the_api(asked: dict, sent: object) -> None:
    """One call at a time included."""
    assert body_of(chat(tools=[WEATHER], **asked)).get("tool_choice") == sent


@pytest.mark.parametrize(
    ("model", "thinking", "forced"),
    [("claude-opus-5-5", None, False), ("claude-sonnet-5-5", None, False), ("claude-haiku-5-5", "low", True),
     ("claude-opus-4-6", "high", True), ("claude-opus-4-6", 4000, False), ("claude-sonnet-4-5", None, True),
     ("claude-sonnet-4-5", "low", False)],
)  # fmt: skip
def test_a_call_is_forced_where_the_model_allows_it(model: str, thinking: str | int | None, forced: bool) -> None:
    """Elsewhere the model is left the choice, with a warning."""
    request = chat(model=model, thinking=thinking, tools=[WEATHER], tool_choice="required")
    assert body_of(request)["tool_choice"]["type"] == ("any" if forced else "auto")
    assert (("clamped", "tool_choice") in warned(request)) is not forced


def test_strict_tools_are_guaranteed_where_possible() -> None:
    """A schema that the guarantee cannot express goes out without it."""
    request = chat(tools=[{"name": "f", "parameters": SCHEMA, "strict": True}])
    tool = body_of(request)["tools"][0]
    assert tool["strict"] is True
    assert tool["input_schema"]["additionalProperties"] is False
    assert warned(request) == []
    for facts, schema in ((None, ANY_DICT), (OLD, SCHEMA)):
        request = chat(tools=[{"name": "f", "parameters": schema, "strict": True}], facts=facts)
        assert body_of(request)["tools"][0] == {"name": "f", "input_schema": schema}
        assert warned(request) == [("dropped", "tools")]


def test_structured_output_is_the_models_own() -> None:
    """Beside an effort; what it cannot enforce is described."""
    request = chat(model="claude-opus-5-5", response_format=SCHEMA, thinking="low")
    assert body_of(request)["output_config"] == {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "title": "Count",
                "properties": {"n": {"type": "integer", "description": "minimum: 3"}},
                "required": ["n"],
                "additionalProperties": False,
            },
        },
    }
    assert warned(request) == [("other", "response_format")]


@pytest.mark.parametrize(("facts", "schema"), [(OLD, SCHEMA), (None, ANY_DICT)])
def test_elsewhere_the_answer_is_the_arguments_of_a_tool(facts: ModelFacts | None, schema: dict) -> None:
    """Also for a schema that the native mode cannot express."""
    request = chat(response_format=schema, facts=facts)
    body = body_of(request)
    name = schema.get("title", "answer")
    assert body["tools"][0]["input_schema"] == schema
    assert body["tool_choice"] == {"type": "tool", "name": name}
    assert "output_config" not in body
    assert warned(request) == [("emulated", "response_format")]


def test_the_answer_tool_lives_beside_the_callers_tools() -> None:
    """The model must call one of them; with thinking it is told in words instead."""
    tools = [{"name": "Count"}, WEATHER]
    body = body_of(chat(response_format=SCHEMA, tools=tools, facts=OLD))
    assert [tool["name"] for tool in body["tools"]] == ["Count", "weather", "Count_"]
    assert body["tool_choice"] == {"type": "any"}
    thinking = body_of(chat(response_format=SCHEMA, thinking=2000, facts=OLD))
    assert thinking["tool_choice"] == {"type": "auto"}
    assert thinking["system"] == "Give your final answer by calling the tool Count."


def test_json_of_any_form_is_asked_for_in_words() -> None:
    """There is no such mode; and a list cannot be the arguments of a tool."""
    request = chat(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}], response_format="json"
    )
    assert body_of(request)["system"][1]["text"] == "Answer with one JSON object and nothing else."
    assert warned(request) == [("emulated", "response_format")]
    listed = body_of(chat(response_format={"type": "array", "items": {"type": "string"}}, facts=OLD))
    assert '"array"' in listed["system"]
    assert "tools" not in listed


def test_the_answer_tool_is_read_as_text() -> None:
    """Whole and streamed; the caller sees JSON and an ordinary end."""
    request = chat(response_format=SCHEMA, facts=OLD)
    call = {"type": "tool_use", "id": "t1", "name": "Count", "input": {"n": 4}}
    whole = decoded(answer(call, reason="tool_use"), request)
    assert (whole.content, whole.tool_calls, str(whole.finish_reason)) == ('{"n":4}', (), "stop")
    pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"n', '":4}')]
    stream = sse(START, *block(0, {**call, "input": {}}, *pieces), ending("tool_use"), STOP)
    streamed = collected(stream, request)
    assert (streamed.content, streamed.tool_calls, str(streamed.finish_reason)) == ('{"n":4}', (), "stop")
    empty = sse(START, *block(0, {**call, "input": {}}), ending("tool_use"), STOP)
    assert collected(empty, request).content == "{}"


def test_another_tool_is_still_a_call() -> None:
    """The answer comes later."""
    request = chat(response_format=SCHEMA, tools=[WEATHER], facts=OLD)
    call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
    response = decoded(answer(call, reason="tool_use"), request)
    assert [one.name for one in response.tool_calls] == ["weather"]
    assert str(response.finish_reason) == "tool_calls"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    when: str = Field(json_schema_extra={"format": "date-time"})
    pattern: str = Field(pattern="^a+$", max_length=4)
    amounts: list[float] = Field(min_length=2, max_length=3)


class Outer(BaseModel):
    """Everything at once."""

    inner: Inner
    maybe: Inner | None = None
    colour: Colour = Colour.RED
    kind: Literal["a", "b"] = "a"
    number: int | str = 3
    flags: list[bool] = []


class Tree(BaseModel):
    children: list["Tree"] = []


class Free(BaseModel):
    table: dict[str, int]


class Anything(BaseModel):
    value: Any


class Pair(BaseModel):
    pair: tuple[int, str]


def test_schemas_are_rewritten_to_what_the_api_takes() -> None:
    """Constraints become words; the caller's schema is not touched."""
    schema = Outer.model_json_schema()
    before = repr(schema)
    rewritten = claude_schema(schema)
    assert repr(schema) == before
    assert rewritten is not None
    check_schema(rewritten, "schema")
    inner = rewritten["$defs"]["Inner"]["properties"]
    assert inner["when"]["format"] == "date-time"
    assert inner["pattern"]["description"] == 'maxLength: 4, pattern: "^a+$"'
    assert inner["amounts"]["description"] == "maxItems: 3, minItems: 2"
    assert rewritten["$defs"]["Colour"]["enum"] == ["red", "blue"]
    assert rewritten["required"] == ["inner"]


@pytest.mark.parametrize("model", [Tree, Free, Anything, Pair])
def test_schemas_without_an_equivalent_are_told_apart(model: type[BaseModel]) -> None:
    """Recursion, free keys, anything at all, tuples: the answer tool takes them."""
    assert claude_schema(model.model_json_schema()) is None
    body_of(chat(response_format=model))
