"""Conversations as Gemini wants them: two roles, results right behind their calls, media in place."""

import base64
from typing import Any

import pytest

from core.llm.common.exceptions import RequestError, UnsupportedFeature
from core.llm.common.messages import (
    AudioPart,
    DocumentPart,
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResultPart,
)
from tests.unit.dialects.gemini_chat import body_of, chat, warned

PNG = b"\x89PNG\r\n\x1a\n0000"
WAV = b"RIFF0000WAVE"


def contents(messages: Any, **facts: Any) -> list[dict[str, Any]]:
    """The turns that would be sent."""
    found: list[dict[str, Any]] = body_of(chat(messages, facts=facts))["contents"]
    return found


def test_system_messages_go_first() -> None:
    """One that stood elsewhere is moved, and that is reported."""
    request = chat(
        [
            {"role": "system", "content": "a"},
            {"role": "user", "content": "hi"},
            {"role": "system", "content": "b"},
        ]
    )
    body = body_of(request)
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert warned(request) == [("other", "messages")]


def test_a_conversation_needs_a_turn() -> None:
    """A system message alone becomes the user's."""
    request = chat([{"role": "system", "content": "a"}])
    assert body_of(request) == {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}
    assert warned(request) == [("renamed", "messages")]


def test_media_are_inline_or_by_address() -> None:
    """Pictures, documents and sound alike, each with its type."""
    parts = (
        ImagePart(data=PNG),
        DocumentPart(url="gs://bucket/a.pdf"),
        AudioPart(data=WAV),
    )
    assert contents([Message("user", parts)])[0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://bucket/a.pdf"}},
        {"inlineData": {"mimeType": "audio/wav", "data": base64.b64encode(WAV).decode()}},
    ]
    with pytest.raises(UnsupportedFeature, match="not loaded"):
        contents([Message("user", (ImagePart(path="a.png"),))])


def test_results_come_in_the_order_of_their_calls() -> None:
    """In one turn, with the name of the tool and the id that the call came with."""
    calls = (ToolCall("c1", "f", {"a": 1}), ToolCall("c2", "g"))
    found = contents(
        [
            Message("assistant", "text", tool_calls=calls),
            Message("tool", '{"x": 1}', tool_call_id="c2"),
            Message("user", (ToolResultPart("c1", "boom", is_error=True), TextPart("next"))),
        ]
    )
    assert [content["role"] for content in found] == ["model", "user", "user"]
    assert found[0]["parts"][1:] == [
        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "c1"}},
        {"functionCall": {"name": "g", "args": {}, "id": "c2"}},
    ]
    assert found[1]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"error": "boom"}, "id": "c1"}},
        {"functionResponse": {"name": "g", "response": {"x": 1}, "id": "c2"}},
    ]
    assert found[2]["parts"] == [{"text": "next"}]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("sunny", {"output": "sunny"}),
        ("", {"output": ""}),
        ("[1]", {"output": "[1]"}),
        ("{broken", {"output": "{broken"}),
        (' {"a": 1}', {"a": 1}),
    ],
)
def test_a_result_is_an_object(text: str, wanted: dict[str, Any]) -> None:
    """Its own where it is one."""
    call = Message("assistant", "", tool_calls=(ToolCall("c", "f"),))
    found = contents([call, Message("tool", text, tool_call_id="c")])
    assert found[1]["parts"][0]["functionResponse"]["response"] == wanted


def test_calls_without_ids_are_matched_in_order() -> None:
    """And are sent without ids again, as are those whose ids we made up."""
    found = contents(
        [
            Message("assistant", "", tool_calls=(ToolCall("", "f"), ToolCall("", "g"), ToolCall("gcall_9", "h"))),
            Message("tool", "1", tool_call_id=""),
            Message("tool", "2", tool_call_id=""),
            Message("tool", "3", tool_call_id="gcall_9"),
        ]
    )
    assert [part["functionResponse"]["name"] for part in found[1]["parts"]] == ["f", "g", "h"]
    assert not any("id" in value for content in found for part in content["parts"] for value in part.values())


def test_a_result_that_answers_nothing_is_refused() -> None:
    """Its name is unknown, and the wire demands one."""
    with pytest.raises(RequestError, match="'lost'"):
        contents([Message("tool", "x", tool_call_id="lost")])
    named = Message("tool", "x", name="f", tool_call_id="lost")
    assert contents([named])[0]["parts"][0]["functionResponse"]["name"] == "f"


def test_a_result_with_a_picture() -> None:
    """Travels inside the response."""
    call = Message("assistant", "", tool_calls=(ToolCall("c", "f"),))
    found = contents([call, Message("tool", (TextPart("here"), ImagePart(data=PNG)), tool_call_id="c")])
    response = found[1]["parts"][0]["functionResponse"]
    assert response["response"] == {"output": "here"}
    assert response["parts"][0]["inlineData"]["mimeType"] == "image/png"


SIGNED = ToolCall("c", "f", signature="c2ln", provider="google")


@pytest.mark.parametrize(
    ("call", "demands", "wanted"),
    [
        (SIGNED, True, "c2ln"),
        (SIGNED, False, "c2ln"),
        (ToolCall("c", "f", signature="c2ln", provider="vertex"), True, "skip_thought_signature_validator"),
        (ToolCall("c", "f", signature="c2ln", provider="vertex"), False, None),
        (ToolCall("c", "f"), True, "skip_thought_signature_validator"),
        (ToolCall("c", "f"), False, None),
    ],
)
def test_signatures_go_home_only(call: ToolCall, demands: bool, wanted: str | None) -> None:
    """Where one is demanded, the first call of a turn gets Google's own stand-in."""
    messages = [Message("user", "hi"), Message("assistant", "", tool_calls=(call, ToolCall("d", "g")))]
    parts = contents(messages, signatures=demands)[1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [wanted, None]


def test_own_thinking_returns_and_foreign_does_not() -> None:
    """With its signature where it has one; without words it belongs to the text before it."""
    own = [ThinkingPart("hm", "dA==", provider="google"), TextPart("a"), ThinkingPart("", "dQ==", provider="google")]
    foreign = [ThinkingPart("secret", "dg==", provider="anthropic"), ThinkingPart("", "dw==", provider="vertex")]
    found = contents([Message("user", "hi"), Message("assistant", (*own, *foreign))])
    assert found[1]["parts"] == [
        {"text": "hm", "thought": True, "thoughtSignature": "dA=="},
        {"text": "a", "thoughtSignature": "dQ=="},
    ]


def test_what_has_no_form_is_reported() -> None:
    """A picture in the model's turn, a call in the user's."""
    request = chat(
        [
            Message("user", (TextPart("a"), ToolCall("c", "f"))),
            Message("assistant", (TextPart("b"), ImagePart(data=PNG))),
        ]
    )
    body_of(request)
    assert warned(request) == [("dropped", "messages"), ("dropped", "messages")]
