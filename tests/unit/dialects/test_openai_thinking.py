"""How much to think, in the words of the endpoint that is asked."""

from typing import Any

import pytest
from pydantic_core import from_json

from core.llm.common.types import ModelFacts
from core.llm.data.facts import model_facts
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from tests.unit.dialects.chat import body_of, chat

WITH_MAX = {"effort": ["low", "medium", "high", "xhigh", "max"]}


def responses_body(**params: Any) -> tuple[dict[str, Any], list[str]]:
    """What the Responses endpoint would be sent, and the codes of the warnings."""
    request = chat(**params)
    call = OpenAIResponsesDialect(OpenAIQuirks()).encode(request)
    assert isinstance(call.body, bytes)
    return from_json(call.body), [warning.code for warning in request.warnings]


def test_the_highest_effort_is_sent_where_model_and_endpoint_have_it() -> None:
    """Only Responses takes the word `max`."""
    body, warnings = responses_body(thinking="max", facts=WITH_MAX)
    assert body["reasoning"]["effort"] == "max"
    assert warnings == []


def test_chat_gets_the_next_lower_effort_and_the_caller_is_told() -> None:
    """Chat Completions would refuse the whole request."""
    request = chat(thinking="max", facts=WITH_MAX)
    assert body_of(request)["reasoning_effort"] == "xhigh"
    assert [warning.code for warning in request.warnings] == ["clamped"]
    assert "Responses" in request.warnings[0].message


@pytest.mark.parametrize("known", [["low", "high"], ["low", "high", "xhigh"]])
def test_the_most_that_a_model_has_is_no_loss(known: list[str]) -> None:
    """`thinking: max` asks for as much as there is."""
    body, warnings = responses_body(thinking="max", facts={"effort": known})
    assert body["reasoning"]["effort"] == known[-1]
    assert warnings == []


def test_a_server_that_nothing_is_known_of_is_sent_the_highest_common_word() -> None:
    """Most servers know neither `xhigh` nor `max`."""
    body, _ = responses_body(thinking="max")
    assert body["reasoning"]["effort"] == "high"


@pytest.mark.parametrize(
    ("table", "model", "successor"),
    [("openai", "gpt-5-mini-2025-08-07", "gpt-6.1-terra"), ("anthropic", "claude-sonnet-4-5", "claude-sonnet-5-5")],
)
def test_a_model_that_ends_names_one_that_is_there(table: str, model: str, successor: str) -> None:
    """The warning at load says where to go, and that model is known and has no end itself."""
    assert f"move to {successor} before" in (model_facts(table, model).ending(model) or "")
    found = model_facts(table, successor)
    assert found != ModelFacts()
    assert found.ending(successor) is None
