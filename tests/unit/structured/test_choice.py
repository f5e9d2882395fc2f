"""How a model is asked for an object."""

from typing import Any

import pytest

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.messages import Message, TextPart
from core.llm.common.types import ModelFacts
from core.llm.providers.base.request import AnswerMode, LLMRequest, NamedTool, ResponseFormat
from core.llm.structured.choice import Ask, ask, ask_again
from core.llm.structured.form import answer_format
from tests.unit.structured.models import Flat, Names


def asked(
    capabilities: set[Any] | None = None,
    quirks: dict[str, Any] | None = None,
    mode: AnswerMode = "auto",
    wanted: ResponseFormat | None = None,
    **fields: Any,
) -> Ask:
    """What is sent to a model with these facts."""
    wanted = wanted or answer_format(Flat, mode)
    request = LLMRequest(**{"messages": "hi", "response_format": wanted, **fields})
    return ask(request, wanted, ModelFacts(capabilities=frozenset(capabilities or ()), quirks=quirks or {}), "p/m")


@pytest.mark.parametrize(
    ("capabilities", "quirks", "fields", "way"),
    [
        (None, None, {}, "native"),
        ({"chat", "json_schema"}, None, {}, "native"),
        ({"chat", "tools"}, None, {}, "tool"),
        ({"chat", "tools"}, {"forced_tools": False}, {}, "prompt"),
        ({"chat", "tools"}, {"tool_choice": "auto"}, {}, "prompt"),
        ({"chat", "tools"}, None, {"thinking": "high"}, "prompt"),
        ({"chat"}, None, {}, "prompt"),
        ({"chat", "json_schema", "tools"}, None, {"mode": "tool"}, "tool"),
        ({"chat", "json_schema", "tools"}, None, {"mode": "prompt"}, "prompt"),
        ({"chat", "json"}, None, {"wanted": ResponseFormat()}, "native"),
        ({"chat", "tools"}, None, {"wanted": ResponseFormat()}, "prompt"),
        ({"chat", "tools"}, None, {"wanted": ResponseFormat({"type": "array"})}, "prompt"),
    ],
)
def test_the_way_follows_from_what_is_known_of_the_model(
    capabilities: Any, quirks: Any, fields: dict[str, Any], way: str
) -> None:
    """Native, else a tool that can be forced, else words; unless the request says which."""
    made = asked(capabilities, quirks, **fields)
    assert made.way == way
    assert [one.code for one in made.warnings] == ([] if way == "native" else ["emulated"])


def test_a_way_that_the_model_does_not_have_is_refused_where_it_was_asked_for() -> None:
    """By the name of the model."""
    for capabilities, mode in (({"chat", "tools"}, "native"), ({"chat"}, "tool")):
        with pytest.raises(UnsupportedFeature, match="mode 'auto'"):
            asked(capabilities, mode=mode)  # type: ignore[arg-type]  # a mode


def test_the_tool_is_forced_and_its_name_is_free() -> None:
    """Beside tools of the caller the model has the choice between them and the answer."""
    made = asked({"chat", "tools"})
    assert (made.tool, made.request.tool_choice, made.request.response_format) == ("Flat", NamedTool("Flat"), None)
    made = asked({"chat", "tools"}, tools=[{"name": "Flat"}])
    assert made.tool == "Flat_"
    assert made.request.tool_choice == "required"
    assert [tool.name for tool in made.request.tools or ()] == ["Flat", "Flat_"]
    assert asked({"chat", "tools"}, tools=[{"name": "f"}], tool_choice="f").request.tool_choice == NamedTool("f")


def test_words_join_the_system_message_that_is_there() -> None:
    """Some chat templates refuse a second one."""
    system = Message("system", "Be kind.")
    made = asked({"chat"}, messages=[system, Message("user", "hi")])
    assert [message.role for message in made.request.messages] == ["system", "user"]
    assert made.request.messages[0].text.startswith("Be kind.\n\nAnswer with one JSON object")
    made = asked({"chat"}, messages=[Message("system", (TextPart("a"),)), Message("user", "hi")])
    assert '"age"' in made.request.messages[0].text
    assert [message.role for message in asked({"chat"}).request.messages] == ["system", "user"]


def test_what_is_no_object_goes_out_in_one() -> None:
    """In every way."""
    for capabilities in (None, {"tools"}):
        made = asked(capabilities, wanted=answer_format(Names))
        assert made.wanted.schema is not None
        assert made.wanted.schema["required"] == ["answer"]


def test_the_second_question_shows_the_answer_and_what_is_wrong_with_it() -> None:
    """An empty answer is not shown: servers refuse empty messages."""
    made = asked()
    again = ask_again(made, '{"name": "A"}', "age: Field required")
    assert [message.role for message in again.messages] == ["user", "assistant", "user"]
    assert "age: Field required" in again.messages[-1].text
    assert [message.role for message in ask_again(made, " ", "empty").messages] == ["user", "user"]
