"""Streamed answers: what counts as an end, what counts as output, and what is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import FinishReason, Usage
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.providers.base.response import (
    RefusalDelta,
    StreamFinish,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)
from tests.unit.dialects.chat import answer, chat, chunk, collected, events, sse

HI = chunk({"role": "assistant", "content": "Hi"})
STOP = chunk(finish="stop")


def refused(body: bytes, **more: object) -> ProviderError:
    """The error that a stream ends with."""
    with pytest.raises(ProviderError) as caught:
        events(body, **more)  # type: ignore[arg-type]  # passed through
    return caught.value


def test_a_stream_is_start_output_usage_finish() -> None:
    """In this order, each of the ends exactly once."""
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    found = events(sse(HI, STOP, {"choices": [], "usage": usage}), headers={"x-request-id": "r1"})
    assert found == [
        StreamStart("big-1", request_id="r1"),
        TextDelta("Hi"),
        UsageReport(Usage(3, output=1)),
        StreamFinish(FinishReason("stop", "stop")),
    ]


@pytest.mark.parametrize(
    "body", [sse(HI, STOP), sse(HI, STOP, done=False), sse(HI), sse(HI, done=False) + b"data: [DONE]"]
)
def test_f63_either_terminal_marker_is_enough(body: bytes) -> None:
    """F63: a finish reason without `[DONE]`, `[DONE]` without a finish reason, `[DONE]` without its newlines."""
    assert collected(body).content == "Hi"


def test_an_empty_finish_reason_is_none() -> None:
    """Some servers send it with every chunk."""
    early = chunk({"content": "Hi"}, "")
    assert refused(sse(early, done=False)).code == "truncated"
    assert collected(sse(early, STOP)).finish_reason.raw == "stop"


def test_f63_a_finish_reason_is_never_invented() -> None:
    """F63: where only `[DONE]` came, we do not know why."""
    assert collected(sse(HI)).finish_reason == FinishReason("other", None)


@pytest.mark.parametrize("body", [sse(HI, done=False), sse(HI, done=False) + b'data: {"choices"'])
def test_f62_f67_an_end_without_marker_is_no_answer(body: bytes) -> None:
    """F62, F67: also where half an event had arrived."""
    error = refused(body)
    assert (error.type, error.code, error.billing) == ("protocol", "truncated", "estimated")


@pytest.mark.parametrize("body", [b"", b"data: [DONE]\n\n", b": ping\n\n", b"\n\n"])
def test_an_empty_stream_is_no_answer(body: bytes) -> None:
    """F37: never an empty success."""
    assert refused(body).code == "empty"


def test_f65_what_follows_the_marker_is_ignored() -> None:
    """F65: and the decoder says that it wants no more."""
    assert collected(sse(HI, STOP) + sse(HI)).content == "Hi"


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        ({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, "rate_limit"),
        ({"error": {"message": "boom", "code": 502}}, "server_error"),
        ({"error": "boom"}, "server_error"),
        ({"error": {"message": "overloaded", "type": "overloaded_error"}, "choices": []}, "overloaded"),
        ({**STOP, "error": {"message": "Token limit reached", "code": 400}}, "invalid_request"),
        ({"object": "error", "message": "no", "type": "invalid_request_error"}, "invalid_request"),
        ({"x_groq": {"error": "boom"}, "choices": []}, "server_error"),
        (b"event: error\ndata: it broke\n\n", "server_error"),
        (b'event: error\ndata: {"message": "quota", "code": "insufficient_quota"}\n\n', "quota_exceeded"),
        ({"detail": "no such thing"}, "server_error"),
    ],
)
def test_f66_an_error_event_is_an_error(event: object, wanted: str) -> None:
    """F66: never text, also beside a finish reason; billed as estimated once something was delivered."""
    assert refused(sse(HI, event)).type == wanted
    assert refused(sse(HI, event)).billing == "estimated"
    assert refused(sse(event)).billing == "ambiguous"


def test_f72_a_malformed_event_is_never_skipped() -> None:
    """F72."""
    assert refused(sse(HI, b"data: {nonsense}\n\n", STOP)).code == "json"
    assert refused(sse(HI, b"data: []\n\n", STOP)).code == "schema"
    assert refused(sse(HI, {"choices": {"a": 1}}, STOP)).code == "schema"
    assert refused(sse({"choices": [{"delta": "x"}]}, STOP)).code == "schema"


def test_f73_f74_the_last_usage_counts_wherever_it_stands() -> None:
    """F73, F74: in every chunk, beside the last choice, after it, or in Groq's own field; never summed."""
    one, two = {"prompt_tokens": 3, "completion_tokens": 1}, {"prompt_tokens": 3, "completion_tokens": 2}
    wanted = Usage(3, output=2)
    assert collected(sse({**HI, "usage": one}, {**HI, "usage": two}, STOP)).usage == wanted
    assert collected(sse(HI, {**STOP, "usage": two})).usage == wanted
    assert collected(sse(HI, STOP, {"choices": [], "usage": one}, {"choices": None, "usage": two})).usage == wanted
    assert collected(sse(HI, {**STOP, "x_groq": {"id": "r", "usage": two}})).usage == wanted
    assert collected(sse({**HI, "usage": two}, {**STOP, "usage": None})).usage == wanted
    assert collected(sse(HI, STOP)).usage.estimated


def test_f75_pings_and_empty_chunks_are_no_output() -> None:
    """F75: comments, role-only deltas, filter results and lifecycle notes give no event that counts as output."""
    filters = {"choices": [], "id": "", "model": "", "prompt_filter_results": [{}]}
    quiet = sse(b": ping\n\n", filters, {"id": "x"}, chunk({"role": "assistant", "content": ""}), done=False)
    found = events(quiet + sse(STOP))
    assert [type(event) for event in found] == [StreamStart, StreamFinish]
    assert isinstance(found[0], StreamStart)
    assert found[0].model == "big-1"


def test_f83_a_whole_json_answer_instead_of_a_stream() -> None:
    """F83: delivered as one piece, whatever the content type says, also after keep-alive spaces."""
    body = b"  \n\n " + to_json(
        answer(
            {"content": "Hi", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}, "tool_calls"
        )
    )
    for size in (1, 7, len(body)):
        decoder = OpenAIChatDialect().decoder(chat(stream=True), {"content-type": "application/json"})
        found = [event for at in range(0, len(body), size) for event in decoder.feed(body[at : at + size])]
        found += decoder.end()
        assert [type(event) for event in found] == [StreamStart, TextDelta, ToolCallDelta, ToolCallReady, StreamFinish]
    assert refused(b'{"error": {"message": "no", "code": "model_not_found"}}').type == "model_not_found"
    assert refused(body[:-3]).code == "json"


def test_f84_a_web_page_is_no_stream() -> None:
    """F84: the message tells the content type and a little of the page."""
    error = refused(b"<!DOCTYPE html><html>Log in</html>", headers={"content-type": "text/html"})
    assert (error.type, error.code) == ("protocol", "content_type")
    assert "text/html" in error.message


def test_only_the_first_choice_is_used() -> None:
    """Others may come in between when several were asked for."""
    other = {"id": "c1", "choices": [{"index": 1, "delta": {"content": "NO"}, "finish_reason": "length"}]}
    found = collected(sse(HI, other, STOP, other))
    assert (found.content, found.finish_reason.raw) == ("Hi", "stop")


def test_a_refusal_is_no_text() -> None:
    """It is said in a field of its own, and the finish reason says so too."""
    found = events(sse(chunk({"refusal": "I "}), chunk({"refusal": "can't"}), STOP))
    assert [event for event in found if isinstance(event, RefusalDelta)] == [RefusalDelta("I "), RefusalDelta("can't")]
    assert found[-1] == StreamFinish(FinishReason("refusal", "stop"))


@pytest.mark.parametrize(
    ("delta", "wanted"),
    [
        ({"reasoning_content": "hm"}, ThinkingDelta("hm")),
        ({"reasoning": "hm", "content": ""}, ThinkingDelta("hm")),
        ({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, ThinkingDelta("hm")),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}]}, ThinkingDelta("hm", "s")),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "xyz"}]}, ThinkingDelta("", redacted="xyz")),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, ThinkingDelta("hm")),
        ({"content": [{"type": "text", "text": "Hi"}]}, TextDelta("Hi")),
    ],
)
def test_thinking_comes_in_many_fields(delta: dict[str, object], wanted: object) -> None:
    """The same text in two fields is taken once."""
    assert events(sse(chunk(delta), STOP))[1:-1] == [wanted]


def test_think_tags_are_thinking_only_where_told() -> None:
    """By default a text is left as it is."""
    body = sse(chunk({"content": "<th"}), chunk({"content": "ink>hm</thi"}), chunk({"content": "nk>\n\nHi"}), STOP)
    assert collected(body).content == "<think>hm</think>\n\nHi"
    found = collected(body, think_tags=True)
    assert (found.thinking, found.content) == ("hm", "Hi")


@pytest.mark.parametrize(("raw", "wanted"), [("error", "server_error"), ("insufficient_system_resource", "overloaded")])
def test_a_finish_reason_that_means_failure_is_an_error(raw: str, wanted: str) -> None:
    """An answer that was broken off is not presented as one."""
    assert refused(sse(HI, chunk(finish=raw))).type == wanted


def test_f52_an_answer_that_was_withheld_is_an_error_and_a_cut_one_is_marked() -> None:
    """F52: nothing visible is an error; what was already delivered ends with the reason."""
    assert refused(sse(chunk({"content": ""}), chunk(finish="content_filter"))).type == "content_filter"
    assert collected(sse(HI, chunk(finish="content_filter"))).finish_reason.unified == "content_filter"


def test_the_end_is_known_before_the_body_ends() -> None:
    """`finished` by the finish reason, `done` only by `[DONE]`: the usage may still come."""
    decoder = OpenAIChatDialect().decoder(chat(stream=True), {})
    decoder.feed(sse(HI, done=False))
    assert not decoder.finished
    decoder.feed(sse(STOP, done=False))
    assert decoder.finished
    assert not decoder.done
    decoder.feed(sse())
    assert decoder.done
    assert decoder.end() == []


@given(st.binary(), st.booleans())
def test_random_bytes_raise_only_protocol_errors(data: bytes, as_stream: bool) -> None:
    """Alone, or as the data of an event."""
    body = b"data: " + data + b"\n\n" if as_stream else data
    raised: ProviderError | None = None
    try:
        events(body)
    except ProviderError as error:
        raised = error
    assert raised is not None
    assert raised.type == "protocol"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "content",
                    "role",
                    "tool_calls",
                    "index",
                    "id",
                    "function",
                    "name",
                    "arguments",
                    "type",
                    "text",
                    "thinking",
                    "reasoning",
                    "reasoning_details",
                    "refusal",
                    "function_call",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "choices": st.lists(
                    st.fixed_dictionaries({"delta": json_values, "finish_reason": json_values, "index": json_values})
                )
                | json_values,
                "usage": json_values,
                "model": json_values,
                "id": json_values,
            }
        ),
        max_size=4,
    )
)
def test_any_json_of_the_right_kind_raises_only_provider_errors(chunks: list[object]) -> None:
    """Whatever stands in the known fields."""
    try:
        events(sse(*chunks))
    except ProviderError as error:
        assert error.message  # noqa: PT017 - the property is that nothing else is raised
