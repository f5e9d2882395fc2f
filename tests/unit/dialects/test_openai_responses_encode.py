"""Requests in the Responses format: what goes where, what is left out and said so."""

from typing import Any

import pytest
from pydantic_core import from_json

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.messages import AudioPart, DocumentPart, ImagePart, Message, TextPart, ThinkingPart, ToolCall
from core.llm.dialects.openai_endpoints import OpenAIEndpoints, endpoint_of
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from core.llm.providers.base.request import ChatRequest
from tests.unit.dialects.chat import chat

LUNA = {"effort": ["none", "low", "high"], "default_effort": "low", "tools": "without_thinking"}
TOOLS = [{"name": "f"}]


def body_of(request: ChatRequest, **quirks: Any) -> dict[str, Any]:
    """What would be sent."""
    call = OpenAIResponsesDialect(OpenAIQuirks(**quirks)).encode(request)
    assert isinstance(call.body, bytes)
    assert call.path == "/responses"
    decoded: dict[str, Any] = from_json(call.body)
    return decoded


def test_nothing_is_sent_that_nobody_set() -> None:
    """But that the conversation is not to be kept there."""
    assert body_of(chat()) == {"model": "big", "input": [{"role": "user", "content": "hello"}], "store": False}


def test_system_messages_at_the_beginning_are_instructions() -> None:
    """Later ones stay where they are; a conversation of nothing else keeps one as input."""
    talk = [{"role": role, "content": role[0]} for role in ("system", "system", "user", "system")]
    sent = body_of(chat(talk, facts={"system_role": "developer"}))
    assert sent["instructions"] == "s\n\ns"
    assert sent["input"] == [{"role": "user", "content": "u"}, {"role": "developer", "content": "s"}]
    assert body_of(chat(talk[:1]))["input"] == [{"role": "system", "content": "s"}]


def test_what_the_endpoint_does_not_have_is_reported() -> None:
    """Never dropped in silence, never sent to be refused."""
    request = chat(stop="X", seed=1, frequency_penalty=0.1, presence_penalty=0.1, top_k=2, max_tokens=5)
    sent = body_of(request, min_output_tokens=16)
    assert sent.keys() == {"model", "input", "store", "max_output_tokens"}
    assert sent["max_output_tokens"] == 16
    said = {(warning.parameter, warning.code) for warning in request.warnings}
    assert said == {
        ("stop", "dropped"), ("seed", "dropped"), ("frequency_penalty", "dropped"), ("presence_penalty", "dropped"),
        ("top_k", "dropped"), ("max_tokens", "clamped"),
    }  # fmt: skip


def test_raw_objects_are_joined_and_raw_fields_replace() -> None:
    """`null` takes away, and what decides how the answer is read is not for raw fields."""
    extra = {"reasoning": {"summary": "auto"}, "store": None, "service_tier": "flex", "input": [], "stream": True}
    request = chat(thinking="low", extra=extra)
    sent = body_of(request)
    assert sent["reasoning"] == {"effort": "low", "summary": "auto"}
    assert sent["service_tier"] == "flex"
    assert not {"store", "stream"} & sent.keys()
    assert sent["input"]
    assert [warning.parameter for warning in request.warnings] == ["input", "stream"]


@pytest.mark.parametrize(
    ("facts", "asked"), [({}, True), ({"effort": []}, False), ({"effort": ["low"], "default_effort": "low"}, True)]
)
def test_reasoning_is_asked_for_only_where_there_may_be_some(facts: dict[str, Any], asked: bool) -> None:
    """Models that do not reason refuse to be asked."""
    assert ("include" in body_of(chat(facts=facts), encrypted_reasoning=True)) is asked
    assert "include" not in body_of(chat(facts=facts))


def test_pictures_and_documents_have_their_own_words() -> None:
    """By URL and by bytes."""
    parts = (
        TextPart("look"),
        ImagePart(url="https://x/a.png", detail="low"),
        ImagePart(data=b"\x89PNG\r\n\x1a\n"),
        DocumentPart(url="https://x/a.pdf"),
        DocumentPart(data=b"%PDF-", name="b.pdf"),
        DocumentPart(data=b"words", media_type="text/plain", name="c.txt"),
    )
    (message,) = body_of(chat([Message("user", parts)]))["input"]
    assert message["content"] == [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "https://x/a.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
        {"type": "input_file", "file_url": "https://x/a.pdf"},
        {"type": "input_file", "filename": "b.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        {"type": "input_text", "text": "c.txt:\n\nwords"},
    ]
    with pytest.raises(UnsupportedFeature, match="api: chat"):
        body_of(chat([Message("user", (AudioPart(data=b"RIFF", media_type="audio/wav"),))]))


def test_reasoning_goes_back_in_the_items_it_came_in() -> None:
    """Parts of one summary together, two pieces apart, and only where something followed."""
    own = "acme"
    answer = Message(
        "assistant",
        (
            ThinkingPart("a", "rs_1", None, own),
            ThinkingPart("b", "rs_1", "enc-1", own),
            ThinkingPart("", "rs_2", "enc-2", own),
            ThinkingPart("foreign", "rs_3", "enc-3", "other"),
            ThinkingPart("", "phase:commentary", None, own),
            TextPart("so "),
            TextPart("far"),
            ThinkingPart("", "rs_4", "enc-4", own),
        ),
    )
    sent = body_of(chat([answer, {"role": "user", "content": "go on"}]))["input"]
    summary = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]
    assert sent == [
        {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "enc-1"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "enc-2"},
        {"type": "message", "role": "assistant", "content": "so far", "phase": "commentary"},
        {"role": "user", "content": "go on"},
    ]


def test_open_reasoning_goes_back_where_the_server_wants_it() -> None:
    """Elsewhere it is left out."""
    answer = Message("assistant", (ThinkingPart("hm", "r", None, "acme"), TextPart("x")))
    talk = [answer, {"role": "user", "content": "u"}]
    (item, *_) = body_of(chat(talk), replay_thinking="reasoning_content")["input"]
    assert item == {
        "type": "reasoning",
        "id": "r",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }
    assert len(body_of(chat(talk))["input"]) == 2


def test_calls_and_results_are_paired_by_call_id() -> None:
    """Also where another provider gave them ids that are too long, or none."""
    calls = (ToolCall("x" * 80, "f", {"a": 1}), ToolCall("", "g"))
    talk = [
        Message("assistant", "", tool_calls=calls),
        Message("tool", "1", tool_call_id="x" * 80),
        Message("tool", "2", tool_call_id=""),
    ]
    first, second, one, two = body_of(chat(talk))["input"]
    assert (first["arguments"], second["arguments"]) == ('{"a":1}', "{}")
    assert (one["call_id"], two["call_id"]) == (first["call_id"], second["call_id"])
    assert max(len(first["call_id"]), len(second["call_id"])) <= 64


def test_a_server_without_schemas_is_told_in_words() -> None:
    """And the caller that it was."""
    request = chat(
        [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], response_format={"type": "object"}
    )
    sent = body_of(request, structured="json_object")
    assert sent["text"] == {"format": {"type": "json_object"}}
    assert sent["instructions"].startswith("s\n\nAnswer with one JSON object")
    assert [warning.code for warning in request.warnings] == ["emulated"]


SOUND = [Message("user", (AudioPart(data=b"RIFF", media_type="audio/wav"),))]
OWN = [Message("assistant", (ThinkingPart("", "rs", "enc", "acme"), TextPart("x"))), Message("user", "u")]
FOREIGN = [Message("assistant", (ThinkingPart("", "rs", "enc", "other"), TextPart("x"))), Message("user", "u")]


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (chat(), "chat"),
        (chat(facts=LUNA), "chat"),
        (chat(facts=LUNA, tools=TOOLS), "responses"),
        (chat(facts=LUNA, tools=TOOLS, thinking="high"), "responses"),
        (chat(facts=LUNA, tools=TOOLS, thinking="off"), "chat"),
        (chat(facts={**LUNA, "default_effort": "none"}, tools=TOOLS), "chat"),
        (chat(facts={**LUNA, "effort": ["low"]}, tools=TOOLS, thinking="off"), "responses"),
        (chat(tools=TOOLS, thinking="high"), "chat"),
        (chat(facts={"endpoint": "responses"}), "responses"),
        (chat(OWN, facts={"endpoint": "chat"}), "chat"),
        (chat(SOUND, facts=LUNA, tools=TOOLS), "chat"),
        (chat(OWN), "responses"),
        (chat(FOREIGN), "chat"),
    ],
)
def test_the_endpoint_is_chosen_by_model_and_request(request_: ChatRequest, wanted: str) -> None:
    """From data about the model; what is configured wins over everything."""
    assert endpoint_of(request_, "auto") == wanted
    assert endpoint_of(request_, "chat") == "chat"
    assert endpoint_of(request_, "responses") == "responses"
    assert OpenAIEndpoints(OpenAIQuirks()).encode(request_).path == (
        "/responses" if wanted == "responses" else "/chat/completions"
    )
