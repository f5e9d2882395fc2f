"""Requests are written in the words and within the rules of server and model; what is left out is said."""

from typing import Any

import pytest
from pydantic import BaseModel

from core.llm.common.exceptions import RequestError, UnsupportedFeature
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.providers.base.request import ChatRequest
from tests.unit.dialects.chat import body_of, chat


class City(BaseModel):
    name: str
    population: int = 0


def warned(request: ChatRequest) -> list[tuple[str, str | None]]:
    """Code and parameter of each warning."""
    return [(warning.code, warning.parameter) for warning in request.warnings]


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    """`None` means not sent."""
    assert body_of(chat("hello")) == {"model": "big", "messages": [{"role": "user", "content": "hello"}]}


def test_a_stream_asks_for_its_usage() -> None:
    """Unless the server is known not to understand that."""
    assert body_of(chat(stream=True))["stream_options"] == {"include_usage": True}
    assert "stream_options" not in body_of(chat(stream=True), stream_usage=False)
    call = OpenAIChatDialect().encode(chat(stream=True))
    assert (call.method, call.path, call.streaming) == ("POST", "/chat/completions", True)
    assert call.headers["accept"] == "text/event-stream"


def test_every_parameter_has_its_name_on_the_wire() -> None:
    """As OpenAI's own documentation spells it."""
    sent = body_of(
        chat(
            temperature=0.2,
            top_p=0.9,
            top_k=5,
            stop=["a", "b"],
            seed=7,
            frequency_penalty=0.1,
            presence_penalty=0.3,
            user="u",
            max_tokens=9,
        )
    )
    assert sent["stop"] == ["a", "b"]
    assert {name: sent[name] for name in ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "user", "max_tokens")} == {
        "temperature": 0.2, "top_p": 0.9, "top_k": 5, "seed": 7, "frequency_penalty": 0.1, "presence_penalty": 0.3, "user": "u", "max_tokens": 9,
    }  # fmt: skip


def test_the_token_cap_is_named_as_the_model_or_the_server_names_it() -> None:
    """The model's facts win over the server's habit; it is no loss, so nothing is said."""
    assert body_of(chat(max_tokens=9))["max_tokens"] == 9
    assert body_of(chat(max_tokens=9), token_cap="max_completion_tokens")["max_completion_tokens"] == 9
    request = chat(max_tokens=9, facts={"token_cap": "max_completion_tokens"})
    assert body_of(request)["max_completion_tokens"] == 9
    assert not request.warnings


def test_what_a_server_refuses_is_left_out_with_a_warning() -> None:
    """Never silently, never a crash for a `top_k`."""
    request = chat(top_k=5, seed=1)
    sent = body_of(request, rejects=frozenset({"top_k"}), seed="random_seed")
    assert "top_k" not in sent
    assert sent["random_seed"] == 1
    assert warned(request) == [("dropped", "top_k")]


@pytest.mark.parametrize(
    ("facts", "thinking", "kept"),
    [
        ({"sampling": "never"}, None, set()),
        ({"sampling": "without_thinking", "default_effort": "medium"}, None, set()),
        ({"sampling": "without_thinking", "default_effort": "none"}, None, {"temperature"}),
        (
            {"sampling": "without_thinking", "effort": ["none", "low"], "default_effort": "medium"},
            "off",
            {"temperature"},
        ),
        ({"sampling": "without_thinking", "effort": ["none", "low"]}, "low", set()),
        ({}, "high", {"temperature", "presence_penalty"}),
    ],
)
def test_sampling_is_dropped_where_the_model_refuses_it(facts: dict[str, Any], thinking: Any, kept: set[str]) -> None:
    """Some models take it only while they do not think; penalties not even then."""
    request = chat(temperature=0.2, presence_penalty=0.1, thinking=thinking, facts=facts)
    sent = body_of(request)
    assert {"temperature", "presence_penalty"} & sent.keys() == kept
    assert {parameter for code, parameter in warned(request) if code == "dropped"} == {
        "temperature",
        "presence_penalty",
    } - kept


EFFORTS = ["none", "low", "medium", "high", "xhigh"]


@pytest.mark.parametrize(
    ("thinking", "facts", "wanted", "warning"),
    [
        ("low", {}, "low", None),
        ("off", {}, "none", None),
        ("max", {}, "high", None),
        ("max", {"effort": EFFORTS}, "xhigh", None),
        ("max", {"effort": ["low", "high"]}, "high", None),
        ("off", {"effort": ["low", "medium", "high"]}, "low", "clamped"),
        ("minimal", {"effort": EFFORTS}, "low", "clamped"),
        ("low", {"effort": ["medium"]}, "medium", "clamped"),
        (2000, {"effort": EFFORTS}, "low", "emulated"),
        (10**6, {"effort": EFFORTS}, "xhigh", "emulated"),
        ("high", {"effort": []}, None, "dropped"),
        ("off", {"effort": []}, None, None),
    ],
)
def test_thinking_becomes_the_nearest_effort(
    thinking: Any, facts: dict[str, Any], wanted: str | None, warning: str | None
) -> None:
    """One scale for all, and a warning where the model cannot do what was asked."""
    request = chat(thinking=thinking, facts=facts)
    assert body_of(request).get("reasoning_effort") == wanted
    assert [code for code, _ in warned(request)] == ([warning] if warning else [])


@pytest.mark.parametrize(
    ("style", "thinking", "wanted"),
    [
        ("reasoning", "low", {"reasoning": {"effort": "low"}}),
        ("reasoning", "off", {"reasoning": {"enabled": False}}),
        ("reasoning", 2000, {"reasoning": {"max_tokens": 2000}}),
        ("thinking", "off", {"thinking": {"type": "disabled"}}),
        ("thinking", "medium", {"thinking": {"type": "enabled"}}),
        ("enable_thinking", "medium", {"enable_thinking": True}),
        ("chat_template", "off", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("none", "high", {}),
    ],
)
def test_servers_have_their_own_switch_for_thinking(style: str, thinking: Any, wanted: dict[str, Any]) -> None:
    """A word, an object, a flag, or nothing at all."""
    sent = body_of(chat(thinking=thinking), thinking=style)
    assert {name: value for name, value in sent.items() if name not in {"model", "messages"}} == wanted


WEATHER = {
    "name": "weather",
    "description": "Looks out",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tools_and_their_choice(choice: str, wanted: Any) -> None:
    """A word, or the name of a tool."""
    sent = body_of(chat(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False))
    assert sent["tools"] == [{"type": "function", "function": WEATHER}]
    assert sent["tool_choice"] == wanted
    assert sent["parallel_tool_calls"] is False


def test_a_server_may_call_required_any() -> None:
    """As Mistral does."""
    assert body_of(chat(tools=[WEATHER], tool_choice="required"), required_choice="any")["tool_choice"] == "any"
    assert "tools" not in body_of(chat(tools=[]))


def test_a_model_that_takes_tools_only_without_thinking() -> None:
    """Thinking is switched off and the caller is told; where that is impossible, nothing is sent."""
    facts = {"tools": "without_thinking", "effort": EFFORTS, "default_effort": "medium"}
    request = chat(tools=[WEATHER], facts=facts)
    assert body_of(request)["reasoning_effort"] == "none"
    assert warned(request) == [("other", "thinking")]
    request = chat(tools=[WEATHER], thinking="high", facts=facts)
    assert body_of(request)["reasoning_effort"] == "none"
    assert warned(request) == [("dropped", "thinking")]
    with pytest.raises(UnsupportedFeature, match="tools"):
        body_of(chat(tools=[WEATHER], facts={**facts, "effort": ["low", "high"]}))


def test_structured_output_by_schema() -> None:
    """As it is, or rewritten to the strict rules where the server has them."""
    plain = body_of(chat(response_format=City))["response_format"]["json_schema"]
    assert (plain["name"], plain["strict"], plain["schema"]["required"]) == ("City", True, ["name"])
    strict = body_of(chat(response_format=City), strict_schema=True)["response_format"]["json_schema"]["schema"]
    assert (strict["required"], strict["additionalProperties"]) == (["name", "population"], False)


def test_a_schema_beyond_strict_mode_is_sent_as_a_hint() -> None:
    """And the caller is told that the server does not guarantee it."""
    request = chat(
        response_format={"type": "object", "additionalProperties": {"type": "integer"}, "title": "my answer!"}
    )
    sent = body_of(request, strict_schema=True)["response_format"]["json_schema"]
    assert (sent["strict"], sent["name"]) == (False, "my_answer_")
    assert warned(request) == [("other", "response_format")]


def test_json_mode_and_its_absence() -> None:
    """Without schemas the schema is described in words; without a JSON mode everything is."""
    assert body_of(chat(response_format="json"))["response_format"] == {"type": "json_object"}
    request = chat(response_format=City)
    sent = body_of(request, structured="json_object")
    assert sent["response_format"] == {"type": "json_object"}
    assert '"population"' in sent["messages"][0]["content"]
    assert warned(request) == [("emulated", "response_format")]
    assert "response_format" not in body_of(chat(response_format="json"), structured="none")


def test_raw_fields_come_last_and_cannot_break_the_reading() -> None:
    """They win over everything but the stream, the messages and the model; `None` takes a field away."""
    request = chat(
        temperature=0.2,
        stream=True,
        extra={"temperature": 1, "stream": False, "stream_options": None, "logprobs": True},
    )
    sent = body_of(request, extra={"logprobs": False, "store": False})
    assert (sent["temperature"], sent["logprobs"], sent["store"], sent["stream"]) == (1, True, False, True)
    assert "stream_options" not in sent
    assert warned(request) == [("dropped", "stream")]


def test_a_model_that_is_about_to_go_says_so() -> None:
    """On every call, with the date."""
    request = chat(facts={"shut_down": "2026-12-11"})
    body_of(request)
    assert warned(request) == [("deprecated", "model")]


def test_what_json_cannot_hold_is_refused_before_sending() -> None:
    """A lone surrogate in a prompt."""
    with pytest.raises(RequestError, match="surrogate"):
        body_of(chat("\ud800"))
