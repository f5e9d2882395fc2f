"""What Gemini answers: pieces of calls, endings, signatures, errors in the middle, and bytes of any kind."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import TextPart, ThinkingPart
from core.llm.common.types import Usage
from core.llm.dialects.gemini import GeminiDialect, decode_count
from core.llm.dialects.gemini_usage import usage_from_gemini
from core.llm.providers.base.response import StreamFinish, StreamStart, TextDelta, ToolCallDelta, ToolCallReady
from tests.unit.dialects.gemini_chat import chat, chunk, collected, decoded, events, sse, warned

OVERLOADED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


def piece(path: str, **value: Any) -> dict[str, Any]:
    """A part of a call that goes on."""
    return {"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": True}}


def test_arguments_in_pieces_are_put_together() -> None:
    """By their paths: texts are joined, objects and lists grow, numbers without a fraction are whole."""
    response = collected(
        sse(
            chunk({"functionCall": {"name": "f", "willContinue": True}, "thoughtSignature": "c2ln"}),
            chunk(piece("$.a.text", stringValue="Hel", willContinue=True), piece("$.a.text", stringValue="lo")),
            chunk(piece("$.list[0]", numberValue=3.0), piece("$.list[1].x", numberValue=2.5)),
            chunk(piece("$['odd key']", boolValue=True), piece("$.none", nullValue="NULL_VALUE")),
            chunk({"functionCall": {}}),
            chunk({"functionCall": {"name": "g"}}, finish="STOP"),
        )
    )
    first, second = response.tool_calls
    assert first.arguments == {"a": {"text": "Hello"}, "list": [3, {"x": 2.5}], "odd key": True, "none": None}
    assert (first.signature, first.provider) == ("c2ln", "google")
    assert (second.name, second.arguments, second.signature, second.provider) == ("g", {}, None, None)
    assert str(response.finish_reason) == "tool_calls"
    assert first.id != second.id


def test_the_pieces_of_a_call_are_events() -> None:
    """Its name at once, its arguments when they are whole."""
    found = events(sse(chunk({"functionCall": {"id": "i", "name": "f", "args": {"a": 1}}}, finish="STOP")))
    assert found[1:3] == [ToolCallDelta(0, "i", "f"), ToolCallDelta(0, arguments='{"a":1}')]
    assert isinstance(found[3], ToolCallReady)


def test_a_call_that_was_cut_is_never_complete() -> None:
    """Its arguments are empty and flagged, so that nobody runs it with half of them."""
    opening = {"functionCall": {"name": "f", "willContinue": True}}
    response = collected(sse(chunk(opening, piece("$.a", stringValue="x")), chunk(finish="MAX_TOKENS")))
    [call] = response.tool_calls
    assert (call.arguments, call.raw_arguments) == ({}, '{"a":"x"}')
    assert call.arguments_error is not None


@pytest.mark.parametrize(
    "part",
    [
        piece("$.a", stringValue="x"),
        {"functionCall": []},
        {"functionCall": {"name": "f", "args": "x"}},
        {"functionCall": {"name": "f", "partialArgs": {}}},
        {"functionCall": {"name": "f", "partialArgs": [{}]}},
        *[
            {"functionCall": {"name": "f", "partialArgs": [{"jsonPath": path, "stringValue": "x"}]}}
            for path in ("", "$", "$[0]", "$.a[7]", "$.a[9999999]", "$..", "a", "$" + ".a" * 60)
        ],
    ],
)
def test_unreadable_calls_are_errors(part: dict[str, Any]) -> None:
    """Never a call with guessed arguments."""
    with pytest.raises(ProviderError) as caught:
        events(sse(chunk(part, finish="STOP")))
    assert (caught.value.type, caught.value.code) == ("protocol", "tool_delta")


@pytest.mark.parametrize(
    ("finish", "unified"),
    [
        ("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
        ("SPII", "content_filter"), ("MODEL_ARMOR", "content_filter"), ("MALFORMED_FUNCTION_CALL", "other"),
        ("SOMETHING_NEW", "other"),
    ],
)  # fmt: skip
def test_endings_of_an_answer_with_text(finish: str, unified: str) -> None:
    """The provider's own word is always kept."""
    response = decoded(chunk({"text": "Hi"}, finish=finish))
    assert (response.finish_reason.unified, response.finish_reason.raw) == (unified, finish)


@pytest.mark.parametrize(
    ("finish", "kind"),
    [
        ("SAFETY", "content_filter"), ("RECITATION", "content_filter"), ("MALFORMED_FUNCTION_CALL", "protocol"),
        ("MISSING_THOUGHT_SIGNATURE", "invalid_request"), ("OTHER", "server_error"),
    ],
)  # fmt: skip
def test_endings_without_an_answer(finish: str, kind: str) -> None:
    """Whole and streamed alike."""
    for read in (decoded, lambda body: collected(sse(body))):
        with pytest.raises(ProviderError) as caught:
            read({"candidates": [{"content": {}, "finishReason": finish, "finishMessage": "why"}]})
        assert (caught.value.type, caught.value.code) == (kind, finish)
        assert "why" in caught.value.message


def test_signatures_stay_behind_their_texts() -> None:
    """And a second thought is not taken for the first."""
    response = collected(
        sse(
            chunk({"text": "a", "thoughtSignature": "cw=="}, {"text": "b", "thought": True}),
            chunk({"text": "c"}, finish="STOP"),
        )
    )
    assert response.parts == (
        TextPart("a"),
        ThinkingPart("", "cw==", None, "google"),
        ThinkingPart("b", None, None, "google"),
        TextPart("c"),
    )


def test_parts_without_a_form_are_reported() -> None:
    """What the provider's own tools did is in `raw`, not in the text."""
    request = chat()
    response = decoded(chunk({"executableCode": {"code": "1"}}, {"text": "1"}, finish="STOP"), request)
    assert response.content == "1"
    assert warned(request) == [("dropped", "response")]


@pytest.mark.parametrize(
    "body",
    [
        sse(chunk({"text": "Hi"}), OVERLOADED),
        sse(chunk({"text": "Hi"}), [OVERLOADED]),
        sse(chunk({"text": "Hi"}), b'{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}'),
        sse(chunk({"text": "Hi"}), b'[{"error": {"message": "x", "status": "UNAVAILABLE"}}]\n'),
    ],
)
def test_f66_errors_in_the_middle_are_classified(body: bytes) -> None:
    """F66: in every shape in use; what came before is delivered."""
    decoder = GeminiDialect().decoder(chat(stream=True), {})
    assert TextDelta("Hi") in decoder.feed(body)
    with pytest.raises(ProviderError) as caught:
        decoder.end()
    assert (caught.value.type, caught.value.billing) == ("overloaded", "estimated")


def test_a_list_instead_of_events_is_read() -> None:
    """What is sent where somebody dropped `alt=sse`."""
    whole = [chunk({"text": "Hel"}), chunk({"text": "lo"}, finish="STOP")]
    found = events(json.dumps(whole).encode())
    assert isinstance(found[0], StreamStart)
    assert "".join(event.text for event in found) == "Hello"
    assert isinstance(found[-1], StreamFinish)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty"),
        (b"data: {}\r\n\r\n", "empty"),
        (sse(chunk({"text": "Hi"})), "truncated"),
        (b"<html>", "content_type"),
        (b"data: {broken\n\n", "json"),
        (b'data: "x"\n\n', "schema"),
        (sse({"candidates": {}, "x": 1}), "empty"),
        (sse({"candidates": "x"}), "schema"),
        (sse({"candidates": [{"content": []}]}), "schema"),
        (sse({"candidates": [{"content": {"parts": [1]}}]}), "schema"),
        (b"[]", "schema"),
    ],
)
def test_what_is_no_answer_is_an_error(body: bytes, code: str) -> None:
    """Each with a code of its own."""
    with pytest.raises(ProviderError) as caught:
        events(body)
    assert (caught.value.type, caught.value.code) == ("protocol", code)


@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_events_or_a_provider_error(data: bytes, cut: int) -> None:
    """Nothing else comes out, and nothing hangs."""
    for body in (data, b"data: " + data + b"\n\n", b'data: {"candidates": [' + data + b"]}\n\n"):
        decoder = GeminiDialect().decoder(chat(stream=True), {})
        decoder.feed(body[:cut])
        decoder.feed(body[cut:])
        with suppress(ProviderError):
            decoder.end()


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (None, Usage(estimated=True)),
        ({"trafficType": "ON_DEMAND"}, Usage(estimated=True)),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 3,
          "toolUsePromptTokenCount": 2, "totalTokenCount": 20}, Usage(8, 4, 0, 5, 3)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 18}, Usage(10, 0, 0, 8, 0)),
        ({"promptTokenCount": 3, "cachedContentTokenCount": 9, "totalTokenCount": 3}, Usage(3)),
        ({"promptTokenCount": -1, "candidatesTokenCount": 5}, Usage(0, 0, 0, 5, 0, True)),
        ({"promptTokenCount": "x", "totalTokenCount": True}, Usage(estimated=True)),
    ],
)  # fmt: skip
def test_tokens_are_in_exactly_one_bucket(raw: Any, wanted: Usage) -> None:
    """Thoughts beside the answer, cached ones inside the prompt, tool prompts beside it."""
    assert usage_from_gemini(raw)[0] == wanted


@pytest.mark.parametrize(
    "body", [b'{"totalTokens": "x"}', b'{"totalTokens": -1}', b"", b"<html>", b'{"totalTokens": 1.5}']
)
def test_a_count_that_is_none_is_an_error(body: bytes) -> None:
    """Zero is left out on this wire; anything else must be a number."""
    with pytest.raises(ProviderError):
        decode_count({}, body)
    assert decode_count({}, b"{}") == 0


def test_a_part_without_a_form_here_is_reported_whatever_the_policy() -> None:
    """The policy is about parameters; this answer has been made and paid for. It is said once, not per piece."""
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    body = sse(chunk(code, code), chunk(code), chunk({"text": "Hi"}, finish="STOP"))
    for policy in ("error", "warn", "drop"):
        request = chat(stream=True)
        request.policy = policy
        assert collected(body, request).content == "Hi"
        assert [(one.code, one.parameter) for one in request.warnings] == [("dropped", "response")]


def test_null_in_the_place_of_something_is_nothing() -> None:
    """An error, a call, arguments and parts that are null are not there."""
    null = {"functionCall": None}
    assert collected(sse(chunk(null, {"text": "Hi"}, finish="STOP", error=None))).content == "Hi"
    assert collected(sse(chunk({"text": "Hi"}), {"candidates": [{"content": {"parts": None}, "finishReason": "STOP"}]}))


def test_the_last_chunk_needs_no_blank_line() -> None:
    """A JSON object tells by itself that it is whole."""
    last = sse(chunk({"text": "!"}, finish="STOP", usageMetadata={"promptTokenCount": 3, "totalTokenCount": 4}))
    for end in (last.rstrip(), last[:-2]):
        found = collected(sse(chunk({"text": "Hi"})) + end)
        assert (found.content, found.usage.input) == ("Hi!", 3)
