"""Conversations in the Messages format, begun here or at another provider."""

from dataclasses import replace
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
from core.llm.dialects.anthropic_blocks import carried
from core.llm.dialects.anthropic_history import wire_id
from core.llm.providers.base.response import LLMResponse
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

PNG = b"\x89PNG\r\n\x1a\n123"


def user(text: str) -> Message:
    return Message("user", text)


def turns(*messages: Message, model: str = "claude-next", **params: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = body_of(chat(list(messages), model=model, **params))["messages"]
    return sent


def test_system_text_stands_apart() -> None:
    """One text as a string, several as blocks."""
    one = body_of(chat([Message("system", "Be brief."), user("Hi")]))
    assert one["system"] == "Be brief."
    assert one["messages"] == [{"role": "user", "content": "Hi"}]
    two = body_of(chat([Message("system", "A"), Message("system", "B"), user("Hi")]))
    assert two["system"] == [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]


def test_system_text_in_the_middle_stays_where_the_model_honours_it() -> None:
    """Elsewhere it moves to the beginning, with a warning: as a user's words it would lose its authority."""
    messages = [user("one"), Message("assistant", "two"), user("three"), Message("system", "Speak French.")]
    kept = chat(messages, model="claude-opus-5")
    assert body_of(kept)["messages"][-1] == {"role": "system", "content": "Speak French."}
    assert warned(kept) == []
    moved = chat(messages, model="claude-sonnet-5")
    assert body_of(moved)["system"] == "Speak French."
    assert warned(moved) == [("other", "messages")]


def test_system_text_never_parts_a_call_from_its_result() -> None:
    """It waits until the results are in."""
    messages = [
        user("What is 2+2?"),
        Message("assistant", tool_calls=(ToolCall("t1", "add"),)),
        Message("system", "Hurry."),
        Message("tool", "4", tool_call_id="t1"),
    ]
    assert [turn["role"] for turn in turns(*messages, model="claude-opus-5")] == ["user", "assistant", "user", "system"]


def test_turns_alternate_and_results_come_first() -> None:
    """Messages of one role are one turn, whatever came between two results."""
    calls = (ToolCall("a", "f", {"x": 1}), ToolCall("b", "g"))
    sent = turns(
        user("one"),
        user("two"),
        Message("assistant", "calling", tool_calls=calls),
        Message("tool", "A", tool_call_id="a"),
        user("by the way"),
        Message("user", (ToolResultPart("b", "B", is_error=True),)),
    )
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"] == [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert sent[1]["content"][1:] == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {}},
    ]
    assert sent[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "A"},
        {"type": "tool_result", "tool_use_id": "b", "content": "B", "is_error": True},
        {"type": "text", "text": "by the way"},
    ]


@pytest.mark.parametrize("identifier", ["call_1", "call|fc_1", "with space", "ü", "x" * 100, "9" * 64])
def test_foreign_ids_are_mapped_the_same_way_in_call_and_result(identifier: str) -> None:
    """Ids of other providers may hold what the API refuses."""
    sent = turns(
        user("x"),
        Message("assistant", tool_calls=(ToolCall(identifier, "f"),)),
        Message("tool", "1", tool_call_id=identifier),
    )
    assert sent[1]["content"][0]["id"] == sent[2]["content"][0]["tool_use_id"] == wire_id(identifier)


def test_calls_without_an_id_are_given_one() -> None:
    """Matched to results in order."""
    calls = (ToolCall("", "f"), ToolCall("", "f"))
    results = (ToolResultPart("", "1"), ToolResultPart("", "2"))
    sent = turns(user("x"), Message("assistant", tool_calls=calls), Message("user", results))
    ids = [one["id"] for one in sent[1]["content"]]
    assert ids == [one["tool_use_id"] for one in sent[2]["content"]]
    assert len(set(ids)) == 2


def test_arguments_that_were_no_json_go_back_as_text() -> None:
    """The API takes objects only; the model sees what it wrote."""
    call = ToolCall.from_text("t1", "f", '{"x": ')
    sent = turns(user("x"), Message("assistant", tool_calls=(call,)), Message("tool", "no", tool_call_id="t1"))
    assert sent[1]["content"][0]["input"] == {"INVALID_JSON": '{"x": '}


def test_empty_text_is_left_out() -> None:
    """The API refuses text without a visible character; a message of nothing else is reported."""
    request = chat([user("one"), Message("assistant", "  "), user("two"), Message("tool", "", tool_call_id="t")])
    assert [turn["role"] for turn in body_of(request, strict=False)["messages"]] == ["user"]
    assert warned(request) == [("dropped", "messages")]
    with pytest.raises(RequestError, match="no message"):
        body_of(chat([user(" ")]))


def test_media_travel_by_address_or_bytes() -> None:
    """Pictures, PDF, and text documents with their names."""
    parts = (
        ImagePart(url="https://example.com/a.png"),
        ImagePart(data=PNG),
        ImagePart(data=b"x", media_type="image/jpg"),
        DocumentPart(url="https://example.com/a.pdf"),
        DocumentPart(data=b"%PDF-1.7", name="report"),
        DocumentPart(data="Grüße".encode(), media_type="text/markdown; charset=utf-8"),
    )
    sent = turns(Message("user", parts))[0]["content"]
    assert [one["source"] for one in sent] == [
        {"type": "url", "url": "https://example.com/a.png"},
        {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoxMjM="},
        {"type": "base64", "media_type": "image/jpeg", "data": "eA=="},
        {"type": "url", "url": "https://example.com/a.pdf"},
        {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjc="},
        {"type": "text", "media_type": "text/plain", "data": "Grüße"},
    ]
    assert sent[4]["title"] == "report"


def test_a_tool_may_answer_with_a_picture() -> None:
    """Blocks inside the result."""
    result = Message("tool", (TextPart("the chart"), ImagePart(data=PNG)), tool_call_id="t1")
    sent = turns(user("x"), Message("assistant", tool_calls=(ToolCall("t1", "draw"),)), result)
    assert [one["type"] for one in sent[2]["content"][0]["content"]] == ["text", "image"]


@pytest.mark.parametrize(
    "part",
    [AudioPart(data=b"RIFF", media_type="audio/wav"), ImagePart(data=b"BM1"), DocumentPart(data=b"PK", media_type="application/zip")],
)  # fmt: skip
def test_what_claude_cannot_read_is_refused_before_it_is_sent(part: Any) -> None:
    """With what to do instead."""
    with pytest.raises(UnsupportedFeature, match="Claude takes no"):
        body_of(chat([Message("user", (part,))]))


@pytest.mark.parametrize(("model", "continues"), [("claude-haiku-4-5", True), ("claude-opus-5-5", False)])
def test_an_answer_at_the_end_is_continued_where_the_model_does_that(model: str, continues: bool) -> None:
    """Older models only, and never with white space at its end."""
    request = chat([user("Count."), Message("assistant", "One, two, ")], model=model)
    if continues:
        assert body_of(request)["messages"][-1]["content"] == "One, two,"
        assert warned(request) == [("other", "messages")]
    else:
        with pytest.raises(UnsupportedFeature, match="does not continue"):
            body_of(request)


SIGNED = {"type": "thinking", "thinking": " Let me  think…\n", "signature": "EqkE+/=="}
OMITTED = {"type": "thinking", "thinking": "", "signature": "Ab+/"}
REDACTED = {"type": "redacted_thinking", "data": "Eo8B+/="}
REDACTED_TOO = {"type": "redacted_thinking", "data": "Zz"}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]}
COMPACTION = {"type": "compaction", "content": "so far", "encrypted_content": "q"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1.5}}
TEXT = {"type": "text", "text": "Well."}

ANSWERS = [
    [SIGNED, TEXT, CALL],
    [OMITTED, CALL],
    [SIGNED, OMITTED, TEXT],
    [REDACTED, REDACTED_TOO, TEXT, CALL],
    [REDACTED, OMITTED, TEXT],
    [SIGNED, REDACTED, SIGNED, CALL],
    [TEXT, SEARCH, FOUND, TEXT],
    [OMITTED, SEARCH, FOUND, OMITTED, TEXT],
    [COMPACTION, TEXT],
]


def _streamed(blocks: list[dict[str, Any]], reason: str) -> LLMResponse:
    events: list[dict[str, Any]] = [START]
    for index, one in enumerate(blocks):
        match one["type"]:
            case "thinking":
                deltas = [{"type": "thinking_delta", "thinking": one["thinking"][n : n + 4]} for n in range(0, 20, 4)]
                deltas.append({"type": "signature_delta", "signature": one["signature"]})
                events += block(index, {"type": "thinking", "thinking": "", "signature": ""}, *deltas)
            case "text":
                events += block(index, {"type": "text", "text": ""}, {"type": "text_delta", "text": one["text"]})
            case "tool_use" | "server_tool_use":
                text = '{"x": 1.5}' if one is CALL else '{"query": "x"}'
                pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", text[:3], text[3:])]
                events += block(index, {**one, "input": {}}, *pieces)
            case "compaction":
                fields = {name: value for name, value in one.items() if name != "type"}
                events += block(index, {"type": "compaction", "content": None}, {"type": "compaction_delta", **fields})
            case _:
                events += block(index, one)
    return collected(sse(*events, ending(reason), STOP))


@pytest.mark.parametrize("blocks", ANSWERS, ids=lambda blocks: "-".join(one["type"] for one in blocks))
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_answer_goes_back_byte_for_byte(blocks: list[dict[str, Any]], streamed: bool) -> None:
    """Thinking, signatures, redacted thinking and the traces of server tools, in their order."""
    reason = "tool_use" if CALL in blocks else "end_turn"
    response = _streamed(blocks, reason) if streamed else decoded(answer(*blocks, reason=reason))
    parts = [
        ThinkingPart(part.text, part.signature, part.redacted, "anthropic") if isinstance(part, ThinkingPart) else part
        for part in response.parts
    ]
    history = [user("Hi"), LLMResponse(tuple(parts), response.finish_reason).message]
    history.append(Message("tool", "1", tool_call_id="toolu_1") if CALL in blocks else user("Go on."))
    sent = body_of(chat(history), strict=False)["messages"][1]["content"]
    assert sent == blocks


def test_a_paused_turn_can_be_sent_back() -> None:
    """To a model that continues no other answer."""
    parts = (TextPart("Searching."), ThinkingPart("", None, carried(SEARCH), "anthropic"))
    sent = turns(user("Hi"), Message("assistant", parts), model="claude-opus-5-5")
    assert sent[-1]["content"] == [{"type": "text", "text": "Searching."}, SEARCH]


def test_thinking_of_others_is_dropped() -> None:
    """Nobody else can read or check it; unsigned thinking is refused by the API."""
    parts = (
        ThinkingPart("theirs", "sig", None, "gemini"),
        ThinkingPart("", None, carried(SEARCH), "another-account"),
        ThinkingPart("mine, unsigned", None, None, "anthropic"),
        TextPart("Hello."),
    )
    assert turns(user("Hi"), Message("assistant", parts), user("Go on."))[1]["content"] == "Hello."
    unsigned = body_of(chat([user("Hi"), Message("assistant", parts), user("x")]), signatures=False)
    assert unsigned["messages"][1]["content"][0] == {
        "type": "thinking", "thinking": "mine, unsigned", "signature": "",
    }  # fmt: skip


def test_a_budget_cannot_begin_in_the_middle_of_a_tool_call() -> None:
    """The API refuses it where the call was made without thinking, at another provider for instance."""
    history = [
        user("x"),
        Message("assistant", tool_calls=(ToolCall("t", "f"),)),
        Message("tool", "1", tool_call_id="t"),
    ]
    request = chat(history, model="claude-sonnet-4-5", thinking=2000)
    assert "thinking" not in body_of(request)
    assert ("dropped", "thinking") in warned(request)
    assert body_of(chat(history, model="claude-opus-5-5", thinking="low"))["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_call_made_by_code_on_the_server_goes_back_with_its_caller(streamed: bool) -> None:
    """The API looks for the code that made it; other providers know nothing of it."""
    caller = {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}
    blocks: list[dict[str, Any]] = [{**CALL, "caller": caller}]
    events = block(0, blocks[0])
    whole = decoded(answer(*blocks, reason="tool_use"))
    response = collected(sse(START, *events, ending("tool_use"), STOP)) if streamed else whole
    history = [user("Hi"), response.message, Message("tool", "1", tool_call_id="toolu_1")]
    assert body_of(chat(history), strict=False)["messages"][1]["content"] == blocks
    elsewhere = replace(chat(history), provider="another-account")
    assert body_of(elsewhere, strict=False)["messages"][1]["content"] == [CALL]
    direct: list[dict[str, Any]] = [{**CALL, "caller": {"type": "direct"}}]
    assert decoded(answer(*direct, reason="tool_use")).tool_calls[0].signature is None
