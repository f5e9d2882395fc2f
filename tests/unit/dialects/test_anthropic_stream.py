"""Streams and whole answers of the Messages format, good and bad."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.common.types import Usage
from core.llm.dialects.anthropic_chat import AnthropicDialect
from core.llm.dialects.anthropic_usage import usage_from_anthropic
from core.llm.providers.base.response import (
    RefusalDelta,
    StreamFinish,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)
from tests.unit.dialects.anthropic_support import (
    START,
    STOP,
    answer,
    block,
    chat,
    collected,
    decoded,
    ending,
    events,
    sse,
)

HELLO = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"})
PING = {"type": "ping"}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_7"}


def failure(body: bytes) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        events(body)
    return caught.value


def test_a_stream_becomes_events() -> None:
    """Start, text, usage, finish: pings and unknown events are not among them."""
    unknown = {"type": "something_new", "data": 1}
    assert events(sse(START, PING, unknown, *HELLO, ending(), STOP)) == [
        StreamStart("claude-1"),
        UsageReport(Usage(input=7, output=1, estimated=True)),
        TextDelta("Hello"),
        UsageReport(Usage(input=7, output=3)),
        StreamFinish(collected(sse(START, *HELLO, ending(), STOP)).finish_reason),
    ]


def test_tool_arguments_come_in_pieces() -> None:
    """Empty pieces say nothing; no piece at all means no arguments; two calls keep apart."""
    tool = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"a"', ": 1}", "")]
    got = events(sse(START, *block(0, tool, *pieces), *block(1, {**tool, "id": "t2"}), ending("tool_use"), STOP))
    assert [one for one in got if isinstance(one, ToolCallDelta)] == [
        ToolCallDelta(0, "t1", "f"),
        ToolCallDelta(0, arguments='{"a"'),
        ToolCallDelta(0, arguments=": 1}"),
        ToolCallDelta(1, "t2", "f"),
    ]
    ready = [one.call for one in got if isinstance(one, ToolCallReady)]
    assert [(call.id, dict(call.arguments)) for call in ready] == [("t1", {"a": 1}), ("t2", {})]


def test_arguments_that_end_too_early_are_flagged() -> None:
    """The limit cut them off: they are kept as text and never run."""
    tool = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    piece = {"type": "input_json_delta", "partial_json": '{"a": "x'}
    response = collected(sse(START, *block(0, tool, piece), ending("max_tokens"), STOP))
    assert response.tool_calls[0].arguments_error
    assert response.tool_calls[0].raw_arguments == '{"a": "x'
    assert str(response.finish_reason) == "length"


REASONS = [
    ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("tool_use", "tool_calls"),
    ("model_context_window_exceeded", "length"), ("refusal", "refusal"), ("pause_turn", "other"), ("new", "other"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "unified"), REASONS)
def test_the_reason_for_stopping_is_mapped(raw: str, unified: str) -> None:
    """And the vendor's word is kept."""
    whole = decoded(answer({"type": "text", "text": "x"}, reason=raw)).finish_reason
    streamed = collected(sse(START, *HELLO, ending(raw), STOP)).finish_reason
    assert (whole.unified, whole.raw) == (streamed.unified, streamed.raw) == (unified, raw)


@pytest.mark.parametrize(
    ("details", "words"),
    [({"type": "refusal", "category": "bio", "explanation": "No."}, "No."), ({"category": "cyber"}, "cyber"), (None, None)],
)  # fmt: skip
def test_a_refusal_is_an_answer_and_says_why(details: dict | None, words: str | None) -> None:
    """Also where it holds no text at all."""
    whole = decoded(answer(reason="refusal", stop_details=details))
    end = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}, "usage": {}}
    got = events(sse(START, end, STOP))
    assert (str(whole.finish_reason), whole.refusal) == ("refusal", words)
    assert [one.refusal for one in got if isinstance(one, RefusalDelta)] == ([words] if words else [])


def test_counts_are_cumulative_and_the_last_ones_count() -> None:
    """Null says nothing; the input may be corrected at the end."""
    body = sse(
        START, *HELLO, ending(None, input_tokens=20, output_tokens=2), ending(input_tokens=None, output_tokens=9), STOP
    )
    usage = collected(body).usage
    assert (usage.input, usage.output) == (20, 9)


def test_missing_counts_are_flagged() -> None:
    """Never shown as if the vendor had given them."""
    start = {"type": "message_start", "message": {"model": "m"}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    assert collected(sse(start, *HELLO, end, STOP)).usage.estimated
    assert decoded({**answer(), "usage": None}).usage.estimated
    half = collected(sse(START, *HELLO, end, STOP)).usage
    assert (half.input, half.estimated) == (7, True)


def test_buckets_are_disjoint() -> None:
    """Thinking inside the output, the cache beside the input; impossible numbers are suspect."""
    raw = {"input_tokens": 1, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 4, "output_tokens": 24,
           "output_tokens_details": {"thinking_tokens": 8}}  # fmt: skip
    assert usage_from_anthropic(raw) == (Usage(1, 2, 4, 16, 8), None)
    for bad in ({"input_tokens": -1, "output_tokens": 2}, {"input_tokens": 1, "output_tokens": "9"}):
        usage, warning = usage_from_anthropic(bad)
        assert usage.estimated
        assert warning is not None
        assert warning.code == "suspect_usage"
    advised = {"input_tokens": 1, "output_tokens": 1, "iterations": [{"type": "advisor_message", "input_tokens": 50}]}
    usage, warning = usage_from_anthropic(advised)
    assert usage.total == 2
    assert warning is not None
    assert "50 tokens" in warning.message


def test_an_error_may_come_inside_a_good_status() -> None:
    """What was said before it is delivered; the request id inside it is kept."""
    decoder = AnthropicDialect().decoder(chat(stream=True), {})
    got = decoder.feed(sse(START, *HELLO[:2], OVERLOADED))
    assert [one for one in got if not isinstance(one, UsageReport)] == [StreamStart("claude-1"), TextDelta("Hello")]
    assert decoder.done
    with pytest.raises(ProviderError) as caught:
        decoder.end()
    error = caught.value
    assert (error.type, error.code, error.billing) == ("overloaded", "overloaded_error", "estimated")
    assert (error.request_id, error.retryable) == ("req_7", True)


IN_STREAM = [
    ("api_error", "server_error"), ("overloaded_error", "overloaded"), ("rate_limit_error", "rate_limit"),
    ("invalid_request_error", "invalid_request"), ("authentication_error", "authentication"),
    ("permission_error", "permission"), ("not_found_error", "model_not_found"), ("timeout_error", "timeout"),
    ("billing_error", "quota_exceeded"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "meaning"), IN_STREAM)
def test_errors_inside_a_stream_are_classified_by_their_kind(kind: str, meaning: str) -> None:
    """There is no status to go by."""
    assert failure(sse(START, {"type": "error", "error": {"type": kind, "message": "Sorry."}})).type == meaning


STATUSES = [
    (400, "invalid_request_error", "invalid_request"), (401, "authentication_error", "authentication"),
    (402, "billing_error", "quota_exceeded"), (403, "permission_error", "permission"),
    (404, "not_found_error", "model_not_found"), (413, "request_too_large", "invalid_request"),
    (429, "rate_limit_error", "rate_limit"), (500, "api_error", "server_error"), (504, "timeout_error", "server_error"),
    (529, "overloaded_error", "overloaded"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind", "meaning"), STATUSES)
def test_statuses_are_classified(status: int, kind: str, meaning: str) -> None:
    """Every one in the vendor's list."""
    body = to_json({"type": "error", "error": {"type": kind, "message": "Sorry."}, "request_id": "req_1"})
    error = AnthropicDialect().error(status, {}, body)
    assert (error.type, error.code, error.request_id) == (meaning, kind, "req_1")


def test_the_wait_is_read_from_the_exhausted_limit() -> None:
    """Its reset is a moment, measured by the server's own clock."""
    headers = {
        "date": "Fri, 20 Nov 2026 12:00:00 GMT",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-20T12:00:30Z",
        "anthropic-ratelimit-requests-remaining": "99",
        "anthropic-ratelimit-requests-reset": "2026-11-20T12:00:01Z",
    }
    body = to_json({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}})
    assert AnthropicDialect().error(429, headers, body).retry_after == 30
    assert AnthropicDialect().error(429, {**headers, "retry-after": "12"}, body).retry_after == 12


def test_too_little_credit_is_no_bad_request() -> None:
    """The vendor says 400; waiting does not help."""
    text = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
    body = to_json({"type": "error", "error": {"type": "invalid_request_error", "message": text}})
    error = AnthropicDialect().error(400, {}, body)
    assert (error.type, error.retryable) == ("quota_exceeded", False)


BROKEN: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (sse(PING), "empty"),
    (sse(START), "truncated"),
    (sse(START, *HELLO), "truncated"),
    (sse(START, *HELLO, STOP), "truncated"),
    (sse(START, *HELLO, ending())[:-3], "truncated"),
    (sse(START, *HELLO, START), "schema"),
    (sse(*HELLO), "schema"),
    (sse(START, HELLO[1]), "schema"),
    (sse(START, HELLO[0], HELLO[0]), "schema"),
    (sse(START, {"type": "content_block_start", "index": "0", "content_block": {"type": "text"}}), "schema"),
    (sse(START, *block(0, {"type": "tool_use", "id": "x", "input": {}})), "schema"),
    (b"data: {]\n\n", "json"),
    (b"data: [1]\n\n", "schema"),
    (b"<html>Sign in</html>", "content_type"),
]


@pytest.mark.parametrize(("body", "code"), BROKEN)
def test_a_broken_stream_is_an_error(body: bytes, code: str) -> None:
    """It never passes for an answer."""
    error = failure(body)
    assert error.type == "protocol"
    assert error.code in {code, "truncated" if code == "empty" else code}


def test_the_end_may_be_missing_once_the_reason_is_known() -> None:
    """The answer is whole; a body that ends there loses nothing."""
    decoder = AnthropicDialect().decoder(chat(stream=True), {})
    decoder.feed(sse(START, *HELLO, ending()))
    assert decoder.finished
    assert isinstance(decoder.end()[-1], StreamFinish)


def test_a_whole_answer_instead_of_a_stream_is_read() -> None:
    """Proxies do that."""
    body = to_json(answer({"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "t", "name": "f", "input": {}}))
    assert collected(body).content == "Hi"
    assert failure(to_json(OVERLOADED)).type == "overloaded"


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "empty"), (b"<html>", "content_type"), (b"{}", "schema"), (b"[]", "schema"), (b"nope", "json"),
     (to_json({**answer(), "stop_reason": None}), "schema"), (to_json({**answer(), "content": "x"}), "schema"),
     (to_json(answer({"type": "tool_use", "id": "x", "input": {}})), "schema")],
)  # fmt: skip
def test_a_body_that_is_no_answer_is_an_error(body: bytes, code: str) -> None:
    """Whatever its status said."""
    with pytest.raises(ProviderError) as caught:
        decoded(body)
    assert (caught.value.type, caught.value.code) == ("protocol", code)


_JUNK: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "index", "delta", "content_block", "message", "usage", "error", "text", "x"]), inner,
        max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip
_KINDS = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
          "message_stop", "error", "ping", "odd"]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(_KINDS), st.dictionaries(st.sampled_from(
    ["index", "delta", "content_block", "message", "usage", "error"]), _JUNK, max_size=4)), max_size=6))  # fmt: skip
def test_hostile_events_raise_nothing_but_provider_errors(hostile: list[tuple[str, dict]]) -> None:
    """Neither in `feed` nor in `end`."""
    decoder = AnthropicDialect().decoder(chat(stream=True), {})
    decoder.feed(sse(START, *HELLO[:2], *({**fields, "type": kind} for kind, fields in hostile)))
    with suppress(ProviderError):
        decoder.end()


@given(st.lists(st.dictionaries(st.sampled_from(["type", "text", "input", "name", "id", "thinking"]), _JUNK)), _JUNK)
def test_hostile_answers_raise_nothing_but_provider_errors(content: list[dict], usage: object) -> None:
    """Whatever the blocks and the counts hold."""
    with suppress(ProviderError):
        decoded(answer(*content, usage=usage))


def test_an_error_is_known_by_its_type_alone() -> None:
    """Some proxies leave out the name of the event and the inner object."""
    with pytest.raises(ProviderError, match="boom") as caught:
        collected(sse(START) + b'data: {"type": "error", "message": "boom"}\n\n')
    assert caught.value.type == "server_error"


def test_a_request_that_is_too_large_is_not_sent_again() -> None:
    """Told inside a stream, where there is no status to go by."""
    told = {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}
    with pytest.raises(ProviderError) as caught:
        collected(sse(START, told))
    assert (caught.value.type, caught.value.retryable) == ("invalid_request", False)


def test_a_call_without_an_id_gets_one() -> None:
    """Servers that imitate the format forget it; results could not be matched. Always the same for the same answer."""
    tool = {"type": "tool_use", "name": "f", "input": {"x": 1}}
    body = sse(START, *block(0, tool), *block(1, tool), ending("tool_use"), STOP)
    streamed = [call.id for call in collected(body).tool_calls]
    assert len(set(streamed)) == 2
    assert all(identifier.startswith("toolu_") for identifier in streamed)
    assert [call.id for call in decoded(answer(tool, tool, reason="tool_use")).tool_calls] == streamed
    other = collected(body.replace(b"msg_1", b"msg_2")).tool_calls
    assert not {call.id for call in other} & set(streamed)


def test_the_last_event_needs_no_blank_line() -> None:
    """A JSON object tells by itself that it is whole."""
    text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})
    assert collected(sse(START, *text, ending()).rstrip()).content == "Hi"


def test_an_answer_may_begin_with_what_is_there_already() -> None:
    """Where code that ran on the server goes on, the first event holds whole blocks, and the reason to stop."""
    result = {"type": "code_execution_tool_result", "tool_use_id": "s1", "content": {"stdout": "x"}}
    tool = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}
    message = {**START["message"], "content": [{"type": "text", "text": "Hi"}, result, tool], "stop_reason": "tool_use"}
    begun = {"type": "message_start", "message": message}
    found = collected(sse(begun, STOP))
    assert (found.content, found.finish_reason.unified) == ("Hi", "tool_calls")
    assert [part.type for part in found.parts] == ["text", "thinking", "tool_call"]
    assert found.tool_calls == (ToolCall("t1", "f", {"x": 1}),)
    more = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "!"})
    assert collected(sse(begun, *more, ending(), STOP)).content == "Hi!"


def test_a_beginning_that_comes_twice_is_one() -> None:
    """Proxies repeat it; another message in the same stream is an error, and so is one after output."""
    text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})
    assert collected(sse(START, START, *text, ending(), STOP)).content == "Hi"
    other = {**START, "message": {**START["message"], "id": "msg_2"}}
    for body in (sse(START, other, *text, ending(), STOP), sse(START, *text, START, ending(), STOP)):
        with pytest.raises(ProviderError) as caught:
            collected(body)
        assert caught.value.code == "schema"
