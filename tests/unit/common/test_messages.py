"""Messages and parts from what people write."""

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.llm.common.messages import (
    AudioPart,
    DocumentPart,
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResultPart,
    message_from,
    part_from,
)

PNG = base64.b64encode(b"\x89PNG").decode()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"role": "user", "content": "hi"}, Message("user", "hi")),
        (Message("user", "hi"), Message("user", "hi")),
        ({"role": "developer", "content": "be brief"}, Message("system", "be brief")),
        ({"role": "user", "content": "hi", "name": "ann"}, Message("user", "hi", "ann")),
        ({"role": "assistant", "content": None, "tool_calls": None, "refusal": None}, Message("assistant", "")),
        ({"role": "user", "content": ["a", {"text": "b"}]}, Message("user", (TextPart("a"), TextPart("b")))),
        ({"role": "user", "content": {"type": "text", "text": "one"}}, Message("user", (TextPart("one"),))),
        (
            {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
            Message("assistant", tool_calls=(ToolCall("1", "f", {"a": 1}),)),
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "1", "name": "f", "arguments": {"a": 1}}]},
            Message("assistant", tool_calls=(ToolCall("1", "f", {"a": 1}),)),
        ),
        ({"role": "tool", "tool_call_id": "1", "content": "42"}, Message("tool", "42", tool_call_id="1")),
        (
            {"role": "tool", "content": [{"type": "tool_result", "tool_call_id": "1", "content": "42"}]},
            Message("tool", (ToolResultPart("1", "42"),)),
        ),
    ],
)
def test_a_message_is_read_in_our_shape_and_in_the_openai_shape(value: Any, message: Message) -> None:
    """Both mean the same."""
    assert message_from(value) == message


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("text", TextPart("text")),
        ({"type": "text", "text": "a"}, TextPart("a")),
        ({"type": "input_text", "text": "a"}, TextPart("a")),
        ({"type": "image_url", "image_url": "https://x/y.png"}, ImagePart(url="https://x/y.png")),
        ({"type": "image_url", "image_url": {"url": "u", "detail": "low"}}, ImagePart(url="u", detail="low")),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ImagePart(data=b"\x89PNG", media_type="image/png"),
        ),
        ({"type": "image", "data": PNG, "media_type": "image/png"}, ImagePart(data=b"\x89PNG", media_type="image/png")),
        ({"type": "image", "data": b"raw"}, ImagePart(data=b"raw")),
        ({"type": "image", "path": "a.png"}, ImagePart(path="a.png")),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "a.pdf"}},
            DocumentPart(data=b"\x89PNG", media_type="application/pdf", name="a.pdf"),
        ),
        ({"type": "document", "url": "u", "name": "n"}, DocumentPart(url="u", name="n")),
        (
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
            AudioPart(data=b"\x89PNG", media_type="audio/mp3"),
        ),
        ({"type": "audio", "data": PNG}, AudioPart(data=b"\x89PNG")),
        ({"type": "thinking", "text": "hm", "signature": "s"}, ThinkingPart("hm", "s")),
        ({"type": "tool_call", "id": "1", "name": "f", "arguments": {}}, ToolCall("1", "f", {})),
    ],
)
def test_a_part_is_read_in_our_shape_and_in_the_openai_shape(value: Any, part: Any) -> None:
    """Data URLs and base64 become bytes."""
    assert part_from(value) == part


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (5, "not int"),
        ({"content": "hi"}, "needs a role"),
        ({"role": "robot", "content": "hi"}, "unknown role 'robot'"),
        ({"role": ["user"], "content": "hi"}, "unknown role"),
        ({"role": "user", "contents": "hi"}, "unknown field 'contents'"),
        ({"role": "user", "content": 5}, "string or a list of parts"),
        ({"role": "user", "content": [5]}, "not int"),
        ({"role": "user", "content": [{"type": "text"}]}, "needs the field 'text'"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "is a string, not int"),
        ({"role": "user", "content": [{"type": "video"}]}, "unknown kind of content part 'video'"),
        ({"role": "user", "content": [{"type": "image"}]}, "exactly one of url, data or path; got none"),
        ({"role": "user", "content": [{"type": "image", "url": "u", "path": "p"}]}, "got url, path"),
        ({"role": "user", "content": [{"type": "image", "data": "not base64!"}]}, "not valid base64"),
        ({"role": "user", "content": [{"type": "image", "colour": "red", "url": "u"}]}, "colour"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": None}}]}, "not NoneType"),
        ({"role": "assistant", "tool_calls": 5}, "tool_calls are a list"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "a tool call needs a name"),
        ({"role": "tool", "content": "42"}, "needs tool_call_id"),
    ],
)
def test_what_is_no_message_is_a_value_error_that_names_the_problem(value: Any, problem: str) -> None:
    """Pydantic turns it into an error at the field."""
    with pytest.raises(ValueError, match=problem):
        message_from(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KINDS = [
    "text",
    "image",
    "image_url",
    "input_audio",
    "audio",
    "file",
    "document",
    "tool_call",
    "tool_result",
    "thinking",
]
FIELDS = [
    "text",
    "url",
    "data",
    "path",
    "image_url",
    "input_audio",
    "file",
    "id",
    "name",
    "arguments",
    "tool_call_id",
    "content",
]
parts = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(FIELDS), json_values),
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["role", "content", "name", "tool_calls", "tool_call_id"]),
        json_values | st.sampled_from(["user", "assistant", "tool"]) | st.lists(parts, max_size=2),
    )
)
def test_whatever_is_given_either_is_a_message_or_a_value_error(value: dict[str, Any]) -> None:
    """No other exception escapes, so every mistake becomes an error of the request."""
    try:
        message_from(value)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("text", "arguments", "flagged"),
    [
        ('{"a": 1}', {"a": 1}, False),
        ("", {}, False),
        ("  ", {}, False),
        pytest.param('{"a": ', {}, True, id="F56-cut"),
        pytest.param("[1]", {}, True, id="F56-list"),
        pytest.param('{"a": NaN}', {}, True, id="F47-nan"),
    ],
)
def test_F56_arguments_that_are_no_object_are_kept_and_flagged(text: str, arguments: Any, flagged: bool) -> None:
    """Nothing is executed on a guess, and the model's own text comes back unchanged."""
    call = ToolCall.from_text("1", "f", text)
    assert call.arguments == arguments
    assert (call.arguments_error is not None) is flagged
    if flagged:
        assert call.arguments_json() == text


def test_text_and_parts_of_a_message() -> None:
    """Text joins the text parts; tool calls follow the content."""
    call = ToolCall("1", "f", {})
    message = Message("assistant", (TextPart("a"), ImagePart(url="u"), TextPart("b")), tool_calls=(call,))
    assert message.text == "ab"
    assert message.parts[-1] == call
    assert Message("user", "hi").parts == (TextPart("hi"),)
    assert Message("user", "").parts == ()


def test_bytes_show_in_no_repr() -> None:
    """A log line does not hold a picture."""
    assert "89PNG" not in repr(ImagePart(data=b"\x89PNG"))
    assert ImagePart(data=b"\x89PNG").base64() == PNG
    with pytest.raises(ValueError, match="holds no data"):
        ImagePart(url="u").base64()
