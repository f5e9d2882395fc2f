"""Our request as the body of `/api/chat`."""

import base64
import json

import pytest

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.messages import ImagePart, Message, TextPart, ThinkingPart, ToolCall, ToolResultPart
from core.llm.common.types import ModelFacts
from core.llm.testing import ollama_types
from tests.unit.providers.ollama.support import chat_request, dialect

CHATS_ONLY = ModelFacts(capabilities=frozenset({"chat", "stream"}))
WEATHER = {"name": "weather", "description": "the weather", "parameters": {"type": "object", "properties": {}}}


def encoded(request, **config):
    """The body, which is also checked as the server checks it."""
    call = dialect(**config).encode(request)
    assert (call.method, call.path, call.streaming) == ("POST", "/api/chat", request.stream)
    body = json.loads(call.body)
    ollama_types.check(body, ollama_types.CHAT, "ChatRequest")
    ollama_types.check_options(body.get("options") or {})
    return body


def test_nothing_is_sent_that_nobody_set():
    """Neither a temperature nor a keep_alive of our own invention."""
    assert encoded(chat_request("hi")) == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
    }


def test_streaming_is_said_both_ways():
    """Ollama streams unless told otherwise."""
    assert encoded(chat_request("hi", stream=True))["stream"] is True


def test_settings_become_options_under_ollamas_names():
    body = encoded(
        chat_request(
            temperature=0,
            top_p=0.9,
            top_k=40,
            max_tokens=64,
            seed=7,
            stop="END",
            frequency_penalty=0.1,
            presence_penalty=0.2,
        )
    )

    assert body["options"] == {
        "temperature": 0,
        "top_p": 0.9,
        "top_k": 40,
        "num_predict": 64,
        "seed": 7,
        "stop": ["END"],
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
    }


def test_configured_load_options_and_keep_alive_go_with_every_call():
    """ML-19: another num_ctx would make a shared server load the model again."""
    body = encoded(
        chat_request(temperature=0.5),
        options={"num_ctx": 8192},
        keep_alive="5m",
        truncate=False,
        shift=False,
    )

    assert body["options"] == {"num_ctx": 8192, "temperature": 0.5}
    assert (body["keep_alive"], body["truncate"], body["shift"]) == (300, False, False)


def test_a_load_option_of_one_call_is_dropped_and_reported():
    """A call that reloads the model for itself reloads it for everyone, twice."""
    request = chat_request(raw={"options": {"num_ctx": 4096, "min_p": 0.1}})
    body = encoded(request, options={"num_ctx": 8192})

    assert body["options"] == {"num_ctx": 8192, "min_p": 0.1}
    assert [warning.parameter for warning in request.warnings] == ["options.num_ctx"]


def test_a_load_option_that_changes_nothing_is_no_matter():
    request = chat_request(raw={"options": {"num_ctx": 8192}})
    encoded(request, options={"num_ctx": 8192})

    assert request.warnings == []


def test_raw_fields_are_sent_but_cannot_replace_what_makes_the_call():
    request = chat_request(raw={"logprobs": True, "keep_alive": "-1", "model": "other", "shift": True})
    body = encoded(request)

    assert (body["logprobs"], body["keep_alive"], body["model"]) == (True, -1, "tiny")
    assert "shift" not in body
    assert [warning.parameter for warning in request.warnings] == ["model", "shift"]


def test_a_raw_null_takes_a_field_away():
    """One call without the configured keep_alive, for example."""
    assert "keep_alive" not in encoded(chat_request(raw={"keep_alive": None}), keep_alive="5m")


def test_a_keep_alive_that_the_server_would_refuse_is_refused_here():
    with pytest.raises(ProviderError, match="keep_alive"):
        encoded(chat_request(raw={"keep_alive": "soon"}))


def test_a_schema_is_the_format():
    schema = {"type": "object", "properties": {"n": {"const": None}}}

    assert encoded(chat_request(response_format=schema))["format"] == schema
    assert encoded(chat_request(response_format="json"))["format"] == "json"


@pytest.mark.parametrize(
    ("thinking", "think", "warned"),
    [
        ("off", False, False),
        ("minimal", "low", True),
        ("low", "low", False),
        ("medium", "medium", False),
        ("high", "high", False),
        ("max", "max", False),
        (2000, True, True),
    ],
)
def test_thinking_is_a_switch_or_a_level(thinking, think, warned):
    """What Ollama has no word for is reported."""
    request = chat_request(thinking=thinking)

    assert encoded(request)["think"] == think
    assert bool(request.warnings) is warned


def test_a_model_that_knows_no_levels_is_switched_on():
    """A quirk of the model, given as data."""
    request = chat_request(thinking="high", facts=ModelFacts(quirks={"think": "switch"}))

    assert encoded(request)["think"] is True
    assert request.warnings


@pytest.mark.parametrize("thinking", ["off", "high"])
def test_a_model_that_cannot_think_is_never_asked_to(thinking):
    """Ollama would answer with a 400."""
    request = chat_request(thinking=thinking, facts=CHATS_ONLY)

    assert "think" not in encoded(request)
    assert bool(request.warnings) is (thinking != "off")


def test_tools_are_declared_and_results_find_their_call():
    """Arguments are objects, results name their tool, and the conversation stays in order."""
    messages = [
        Message("system", "be brief"),
        Message("user", "weather?"),
        Message("assistant", "", tool_calls=(ToolCall("a1", "weather", {"city": "Oslo"}), ToolCall("a2", "clock"))),
        Message("tool", "rain", tool_call_id="a1"),
        Message("user", (ToolResultPart("a2", "noon"), TextPart("and now?"))),
    ]
    body = encoded(chat_request(messages, tools=[WEATHER]))

    assert body["tools"] == [{"type": "function", "function": WEATHER}]
    assert body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "a1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}},
                {"id": "a2", "type": "function", "function": {"name": "clock", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "a1", "tool_name": "weather"},
        {"role": "tool", "content": "noon", "tool_call_id": "a2", "tool_name": "clock"},
        {"role": "user", "content": "and now?"},
    ]


def test_a_result_that_is_a_part_of_a_tool_message_is_sent_once():
    """Not followed by an empty one with the same id, which a model would take for the answer; nor without its id."""
    messages = [
        Message("assistant", "", tool_calls=(ToolCall("a1", "weather"),)),
        Message("tool", (ToolResultPart("a1", "rain"),), tool_call_id="a1"),
        Message("tool", (ToolResultPart("", "rain"),), tool_call_id="a1"),
    ]
    result = {"role": "tool", "content": "rain", "tool_call_id": "a1", "tool_name": "weather"}

    assert encoded(chat_request(messages))["messages"][1:] == [result, result]


def test_results_of_calls_without_an_id_are_named_in_their_order():
    """Old servers gave calls no ids: the first result is that of the first call."""
    messages = [
        Message("assistant", "", tool_calls=(ToolCall("", "weather"), ToolCall("", "clock"))),
        Message("user", (ToolResultPart("", "rain"), ToolResultPart("", "noon"))),
    ]

    assert encoded(chat_request(messages))["messages"][1:] == [
        {"role": "tool", "content": "rain", "tool_name": "weather"},
        {"role": "tool", "content": "noon", "tool_name": "clock"},
    ]


def test_a_picture_that_a_tool_returned_stays_with_its_result():
    messages = [
        Message("assistant", "", tool_calls=(ToolCall("a1", "camera"),)),
        Message("tool", (TextPart("here"), ImagePart(data=b"\x89PNG")), tool_call_id="a1"),
    ]
    picture = base64.b64encode(b"\x89PNG").decode()

    assert encoded(chat_request(messages))["messages"][1:] == [
        {"role": "tool", "content": "here", "tool_call_id": "a1", "tool_name": "camera", "images": [picture]}
    ]


def test_unreadable_arguments_of_another_provider_are_reported():
    """Ollama wants an object; text that is none cannot be sent."""
    request = chat_request(
        [Message("user", "x"), Message("assistant", "", tool_calls=(ToolCall.from_text("a", "f", "{bad"),))]
    )
    body = encoded(request)

    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == {}
    assert [warning.parameter for warning in request.warnings] == ["messages"]


def test_own_thinking_goes_back_and_foreign_thinking_stays_here():
    messages = [
        Message("user", "x"),
        Message(
            "assistant",
            (ThinkingPart("mine", provider="ollama"), ThinkingPart("theirs", provider="openai"), TextPart("y")),
        ),
    ]

    assert encoded(chat_request(messages))["messages"][1] == {"role": "assistant", "content": "y", "thinking": "mine"}


def test_pictures_travel_as_base64_beside_the_text():
    messages = [Message("user", (TextPart("what is it?"), ImagePart(data=b"\x89PNG")))]
    message = encoded(chat_request(messages))["messages"][0]

    assert message == {"role": "user", "content": "what is it?", "images": [base64.b64encode(b"\x89PNG").decode()]}


def test_no_tools_are_sent_where_none_may_be_called():
    assert "tools" not in encoded(chat_request(tools=[WEATHER], tool_choice="none"))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"tools": [WEATHER], "tool_choice": "required"}, "cannot force"),
        ({"tools": [WEATHER], "tool_choice": "weather"}, "cannot force"),
        ({"tools": [WEATHER], "facts": CHATS_ONLY}, "does not support tools"),
        ({"messages": [Message("user", (ImagePart(url="https://x/y.png"),))]}, "not an image URL"),
        ({"messages": [Message("user", (ImagePart(data=b"x"),))], "facts": CHATS_ONLY}, "cannot see"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "data": b"%PDF"}]}]}, "document"),
    ],
)
def test_what_would_change_the_meaning_is_refused_before_the_call(params, says):
    """An image that is left out, or a tool that need not be called, is another question."""
    with pytest.raises(UnsupportedFeature, match=says):
        encoded(chat_request(**params))


def test_what_only_fine_tunes_is_dropped_and_reported():
    request = chat_request(
        [{"role": "user", "content": "x", "name": "ada"}], user="u1", tools=[WEATHER], parallel_tool_calls=False
    )
    encoded(request)

    assert {warning.parameter for warning in request.warnings} == {"user", "messages", "parallel_tool_calls"}
