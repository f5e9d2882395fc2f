"""Conversations keep their meaning on the wire: parts, tool calls, results, thinking and ids."""

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
from core.llm.dialects.media import media_type
from tests.unit.dialects.chat import body_of, chat

PNG = b"\x89PNG\r\n\x1a\n...."


def sent(*messages: Message, facts: dict[str, Any] | None = None, **quirks: Any) -> list[dict[str, Any]]:
    """The messages on the wire."""
    found: list[dict[str, Any]] = body_of(chat(list(messages), facts=facts), **quirks)["messages"]
    return found


def parts(*content: Any, **quirks: Any) -> Any:
    """The content of one user message."""
    return sent(Message("user", content), **quirks)[0]["content"]


def test_roles_and_names() -> None:
    """The system role is called as the model wants it."""
    messages = (Message("system", "be brief"), Message("user", "hi", name="ann"), Message("assistant", "hello"))
    assert sent(*messages) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi", "name": "ann"},
        {"role": "assistant", "content": "hello"},
    ]
    assert sent(*messages, facts={"system_role": "developer"})[0]["role"] == "developer"
    assert sent(*messages, system_role="developer")[0]["role"] == "developer"


def test_images_by_url_and_by_bytes() -> None:
    """With the type recognised from the first bytes, and the detail where it is given."""
    assert parts(TextPart("look"), ImagePart(url="https://x/y.png", detail="low"), ImagePart(data=PNG)) == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgouLi4u"}},
    ]


def test_one_text_part_is_a_plain_string() -> None:
    """Servers without vision often know nothing else."""
    assert parts(TextPart("hi")) == "hi"


def test_documents_in_the_forms_servers_have() -> None:
    """A file with data, a URL, or as text where it is text; refused where there is no way."""
    pdf = DocumentPart(data=b"%PDF-1.7", name="a.pdf")
    assert parts(pdf) == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="}}
    ]
    assert parts(pdf, document="document_url")[0]["document_url"].startswith("data:application/pdf")
    linked = DocumentPart(url="https://x/a.pdf")
    assert parts(linked, document_urls=True)[0]["file"]["file_data"] == "https://x/a.pdf"
    assert parts(linked, document="document_url") == [{"type": "document_url", "document_url": "https://x/a.pdf"}]
    assert parts(DocumentPart(data=b"a,b", media_type="text/csv", name="t.csv"), document="none") == "t.csv:\n\na,b"
    for refused, quirks in ((linked, {}), (pdf, {"document": "none"})):
        with pytest.raises(UnsupportedFeature):
            parts(refused, **quirks)


def test_sound_travels_as_bytes() -> None:
    """In the formats that have a name there."""
    assert parts(AudioPart(data=b"RIFF....WAVE"))[0]["input_audio"]["format"] == "wav"
    assert parts(AudioPart(data=b"ID3.."))[0]["input_audio"] == {"data": "SUQzLi4=", "format": "mp3"}
    for part, quirks in ((AudioPart(url="https://x/a.wav"), {}), (AudioPart(data=b"ID3"), {"audio": False})):
        with pytest.raises(UnsupportedFeature):
            parts(part, **quirks)


def test_a_part_without_bytes_or_type_is_the_callers_mistake() -> None:
    """The message says what to pass."""
    with pytest.raises(RequestError, match="pass its bytes"):
        parts(ImagePart(path="/tmp/a.png"))
    with pytest.raises(RequestError, match="media_type"):
        parts(ImagePart(data=b"????"))


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        (ImagePart(data=b"\xff\xd8\xff\xe0"), "image/jpeg"),
        (ImagePart(data=b"GIF89a"), "image/gif"),
        (ImagePart(data=b"RIFF....WEBPVP8"), "image/webp"),
        (ImagePart(data=b"????", media_type="image/x"), "image/x"),
        (ImagePart(url="https://x/a.JPG?size=1"), "image/jpeg"),
        (DocumentPart(data=b"hello", name="notes.md"), "text/markdown"),
        (AudioPart(data=b"OggS"), "audio/ogg"),
    ],
)
def test_media_types_are_recognised(part: Any, wanted: str) -> None:
    """As given, by the first bytes, by the name."""
    assert media_type(part) == wanted


CALL = ToolCall("call_1", "f", {"x": 1})


def test_a_tool_turn() -> None:
    """Content is null where there are only calls; the arguments go back exactly as the model wrote them."""
    broken = ToolCall.from_text("call_2", "g", '{"y": ')
    found = sent(
        Message("user", "hi"),
        Message("assistant", "", tool_calls=(CALL, broken)),
        Message("tool", "one", tool_call_id="call_1"),
        Message("tool", "two", tool_call_id="call_2"),
    )
    assert found[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
            {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": '{"y": '}},
        ],
    }
    assert found[2:] == [
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "call_2", "content": "two"},
    ]


def test_results_inside_a_user_message_come_first() -> None:
    """They answer the message before, what the user adds comes after them."""
    found = sent(
        Message("assistant", "", tool_calls=(CALL,)),
        Message("user", (TextPart("and now?"), ToolResultPart("call_1", "one"))),
    )
    assert [one["role"] for one in found] == ["assistant", "tool", "user"]


def test_ids_that_a_server_cannot_take_are_replaced_on_both_sides() -> None:
    """Ids of another provider, or too long ones: call and result keep pointing at each other."""
    choices: tuple[dict[str, Any], ...] = ({"tool_id_length": 9}, {"tool_id_max": 40})
    for identifier in ("call_abc", "functions.f:0", "x" * 100, "weird id/1"):
        for quirks in choices:
            call, result = sent(
                Message("assistant", "", tool_calls=(ToolCall(identifier, "f"),)),
                Message("tool", "one", tool_call_id=identifier),
                **quirks,
            )
            wire = call["tool_calls"][0]["id"]
            assert wire == result["tool_call_id"]
            assert len(wire) == 9 if "tool_id_length" in quirks else len(wire) <= 40
    kept = sent(Message("assistant", "", tool_calls=(ToolCall("abcDEF123", "f"),)), tool_id_length=9)
    assert kept[0]["tool_calls"][0]["id"] == "abcDEF123"


def test_calls_without_an_id_get_one_and_their_results_find_it() -> None:
    """In order."""
    calls, one, two = sent(
        Message("assistant", "", tool_calls=(ToolCall("", "f"), ToolCall("", "f"))),
        Message("tool", "1", tool_call_id=""),
        Message("tool", "2", tool_call_id=""),
    )
    ids = [call["id"] for call in calls["tool_calls"]]
    assert ids[0] != ids[1]
    assert [one["tool_call_id"], two["tool_call_id"]] == ids


def test_thinking_goes_back_only_to_where_it_came_from_and_where_it_is_wanted() -> None:
    """Foreign thinking is never sent."""
    own = ThinkingPart("hm", signature="sig", provider="acme")
    secret = ThinkingPart("", redacted="xyz", provider="acme")
    foreign = ThinkingPart("no", provider="other")
    message = Message("assistant", (own, secret, foreign, TextPart("hi")))
    assert sent(message) == [{"role": "assistant", "content": "hi"}]
    assert sent(message, replay_thinking="reasoning_content")[0]["reasoning_content"] == "hm"
    assert sent(message, replay_thinking="reasoning_details")[0]["reasoning_details"] == [
        {"type": "reasoning.text", "text": "hm", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "xyz"},
    ]


def test_googles_signature_goes_back_with_its_call() -> None:
    """Where the server wants it."""
    message = Message("assistant", "", tool_calls=(ToolCall("a", "f", signature="sig"),))
    assert "extra_content" not in sent(message)[0]["tool_calls"][0]
    extra = sent(message, google_signatures=True)[0]["tool_calls"][0]["extra_content"]
    assert extra == {"google": {"thought_signature": "sig"}}


def test_a_part_that_has_no_place_is_dropped_with_a_warning() -> None:
    """Such as a picture in what the assistant said."""
    request = chat([Message("assistant", (TextPart("hi"), ImagePart(data=PNG)))])
    assert body_of(request)["messages"] == [{"role": "assistant", "content": "hi"}]
    assert [warning.code for warning in request.warnings] == ["dropped"]
