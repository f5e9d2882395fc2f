"""Lines of `/api/chat` as events, and one whole answer as a response."""

import json

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.common.types import FinishReason, Usage
from core.llm.providers.base.response import (
    StreamFinish,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallReady,
    UsageReport,
)
from tests.unit.providers.ollama.support import chat_request, decoder, dialect, run

OPEN = {"model": "tiny", "created_at": "2026-01-01T00:00:00Z", "done": False}


def line(content="", **more):
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    return json.dumps({**OPEN, "message": message, **more}, ensure_ascii=False).encode() + b"\n"


LAST = line(done=True, done_reason="stop", prompt_eval_count=5, eval_count=2)


def text_of(events):
    return "".join(event.text for event in events)


def test_a_stream_is_start_text_usage_finish():
    """Nothing is held back: the first line already is an event."""
    events, error = run([line("Hel"), line("lo"), LAST])

    assert error is None
    assert events == [
        StreamStart("tiny", "ollama"),
        TextDelta("Hel"),
        TextDelta("lo"),
        UsageReport(Usage(input=5, output=2)),
        StreamFinish(FinishReason("stop", "stop")),
    ]


def test_thinking_comes_beside_the_text():
    events, _ = run([line(message={"thinking": "hm"}), line("42"), LAST])

    assert events[1:3] == [ThinkingDelta("hm"), TextDelta("42")]


def test_a_mark_of_the_models_own_format_is_no_part_of_a_tools_name():
    """gpt-oss writes the channel behind the name now and then."""
    call = {"id": "a", "function": {"name": "f<|channel|>commentary", "arguments": {"x": 1}}}
    events, _ = run([line(message={"tool_calls": [call]}), LAST])
    assert ToolCallReady(0, ToolCall("a", "f", {"x": 1})) in events


def test_tool_calls_get_an_id_where_the_server_sends_none():
    """Older servers send none, and results must find their call."""
    calls = [
        {"function": {"name": "f", "arguments": {"x": 1}}},
        {"id": "given", "function": {"name": "g", "arguments": '{"y": 2}'}},
    ]
    events, _ = run([line(message={"tool_calls": calls[:1]}), line(message={"tool_calls": calls[1:]}), LAST])

    assert [event for event in events if isinstance(event, ToolCallReady)] == [
        ToolCallReady(0, ToolCall("call_0", "f", {"x": 1})),
        ToolCallReady(1, ToolCall("given", "g", {"y": 2})),
    ]
    assert events[-1] == StreamFinish(FinishReason("tool_calls", "stop"))


@pytest.mark.parametrize(
    ("raw", "unified"),
    [("stop", "stop"), ("length", "length"), (None, "stop"), ("", "stop"), ("load", "other"), ("new", "other")],
)
def test_the_reason_is_mapped_and_kept(raw, unified):
    """F51, F63: `done` is the end; a missing or unknown word for it is no error."""
    events, error = run([line("x"), line(done=True, done_reason=raw)])

    assert error is None
    assert events[-1] == StreamFinish(FinishReason(unified, raw))


@pytest.mark.parametrize("size", range(1, 8))
def test_f68_pieces_of_any_size_give_the_same_events(size):
    """Characters of four bytes included."""
    body = line("Grüße 世界") + line("👩‍👧\u2028\u0085\x0b") + LAST
    whole, _ = run([body])
    cut, error = run([body[start : start + size] for start in range(0, len(body), size)])

    assert error is None
    assert cut == whole
    assert text_of(cut) == "Grüße 世界👩‍👧\u2028\u0085\x0b"


def test_f62_an_end_without_done_is_no_end():
    """The text so far was delivered, and then it is said that it is not all."""
    events, error = run([line("Hel")])

    assert text_of(events) == "Hel"
    assert (error.type, error.code, error.billing) == ("protocol", "truncated", "estimated")


def test_f59_nothing_at_all_is_truncated_too():
    events, error = run([])

    assert events == []
    assert (error.type, error.code, error.billing) == ("protocol", "truncated", "ambiguous")


def test_f67_half_a_line_at_the_end_is_discarded():
    """It is never guessed at, even where it could be read."""
    for half in (LAST[:-20], line("lo")[:-1]):
        events, error = run([line("Hel"), half])

        assert text_of(events) == "Hel"
        assert error.code == "truncated"


def test_f67_a_last_line_may_lack_its_newline():
    events, error = run([line("Hel"), LAST[:-1]])

    assert error is None
    assert isinstance(events[-1], StreamFinish)


@pytest.mark.parametrize("together", [True, False])
def test_f66_an_error_line_ends_the_stream_after_what_came_before(together):
    """However the network cuts it: first the text, then the error, never the error as text."""
    pieces = [line("Hel"), b'{"error":"model runner has unexpectedly stopped"}\n', line("never")]
    events, error = run([b"".join(pieces)] if together else pieces)

    assert text_of(events) == "Hel"
    assert (error.type, error.billing) == ("server_error", "estimated")
    assert "unexpectedly stopped" in error.message


def test_f66_an_error_before_any_output_is_classified():
    """So that the pipeline can still go elsewhere."""
    events, error = run([b'{"error":"model requires more system memory than is available"}\n'])

    assert events == []
    assert (error.type, error.code, error.retryable) == ("server_error", "out_of_memory", False)


def test_f65_what_follows_the_end_is_ignored():
    machine = decoder()
    machine.feed(line("x") + LAST + b"garbage\n")

    assert machine.done
    assert machine.feed(b"more garbage") == []
    assert machine.end() == []


def test_f72_a_line_that_is_no_json_is_an_error_and_not_skipped():
    events, error = run([line("Hel"), b"{oops}\n", line("lo"), LAST])

    assert text_of(events) == "Hel"
    assert (error.type, error.code) == ("protocol", "json")


@pytest.mark.parametrize(
    "bad",
    [
        b"[]\n",
        b"null\n",
        b"{}\n",
        b'{"message": null, "done": false}\n',
        b'{"message": {"content": 7}, "done": false}\n',
        b'{"message": {"thinking": [1]}, "done": false}\n',
        b'{"message": {"content": "x", "tool_calls": {"a": 1}}, "done": false}\n',
        b'{"message": {"content": "x", "tool_calls": [1]}, "done": false}\n',
        b'{"message": {"content": "x", "tool_calls": [{"function": {}}]}, "done": false}\n',
        b'{"message": {"content": "x", "tool_calls": [{"function": {"name": "f", "arguments": 1}}]}, "done": false}\n',
        b'{"message": {"content": "x"}, "done": "yes"}\n',
        b'{"message": {"content": "x"}, "done": true, "done_reason": 3}\n',
    ],
)
def test_f48_json_of_another_shape_is_an_error(bad):
    _, error = run([bad])

    assert (error.type, error.code) == ("protocol", "schema")


def test_f37_an_answer_without_output_is_no_answer():
    """Loading a model, for example, is not answering."""
    _, error = run([line(done=True, done_reason="load")])

    assert (error.type, error.code) == ("protocol", "empty")


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_model_that_says_nothing_has_answered(reason):
    """It generated a token and stopped: asking again would give the same, as it does at every other provider."""
    events, error = run([line(done=True, done_reason=reason, prompt_eval_count=9, eval_count=1)])

    assert error is None
    assert [type(event).__name__ for event in events] == ["StreamStart", "UsageReport", "StreamFinish"]
    _, unloaded = run([line(done=True, done_reason="unload", eval_count=1)])
    assert unloaded.code == "empty"
    _, lacking = run([b'{"message": null, "done": true, "done_reason": "stop", "eval_count": 1}'])
    assert lacking.code == "empty"


def test_an_error_counts_although_a_message_stands_beside_it():
    """What came before it is delivered, what stands beside it is not."""
    events, error = run([line("a"), b'{"message": {"content": "b"}, "done": true, "error": "cuda error"}\n'])

    assert "".join(event.text for event in events) == "a"
    assert (error.type, error.billing) == ("server_error", "estimated")


def test_f84_a_web_page_is_no_stream():
    with pytest.raises(ProviderError) as caught:
        decoder(headers={"content-type": "text/html; charset=utf-8"})

    assert (caught.value.type, caught.value.code) == ("protocol", "content_type")


def test_f39_the_label_of_the_content_is_no_matter():
    """Proxies relabel; what counts is that it can be read."""
    machine = decoder(headers={"content-type": "text/plain"})

    assert machine.feed(line("x"))


def test_f83_one_json_object_where_a_stream_was_asked_for_is_delivered():
    events, error = run(
        [json.dumps({**OPEN, "message": {"role": "assistant", "content": "all"}, "done": True}).encode()]
    )

    assert error is None
    assert text_of(events) == "all"


def test_f70_a_line_of_nine_megabytes_passes():
    events, error = run([line("x" * 9_000_000), LAST])

    assert error is None
    assert len(text_of(events)) == 9_000_000


def test_f71_a_line_without_end_is_cut_off():
    _, error = run([b"x" * 2**20] * 20)

    assert (error.type, error.code) == ("protocol", "too_large")


def test_f49_missing_counts_are_estimated_and_say_so():
    events, _ = run([line("x" * 40), line(done=True)], chat_request("y" * 80, stream=True))

    assert events[-2] == UsageReport(Usage(input=21, output=11, estimated=True))


@pytest.mark.parametrize("count", [-1, 10**12, True, "5", 1.5])
def test_f50_impossible_counts_are_replaced_and_reported(count):
    request = chat_request("hi", stream=True)
    events, error = run([line("hello"), line(done=True, prompt_eval_count=4, eval_count=count)], request)

    assert error is None
    assert events[-2].usage == Usage(input=4, output=2, estimated=True)
    assert [warning.code for warning in request.warnings] == ["suspect_usage"]


def test_a_cached_prompt_that_is_not_counted_is_estimated():
    """Ollama leaves the count out where the whole prompt was in its cache."""
    events, _ = run([line("x"), line(done=True, eval_count=3)], chat_request("y" * 80, stream=True))

    assert events[-2].usage == Usage(input=21, output=3, estimated=True)


def test_a_whole_answer_has_everything_in_order():
    body = {
        **OPEN,
        "message": {
            "role": "assistant",
            "content": "text",
            "thinking": "hm",
            "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
        },
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 4,
        "some_new_field": 1,
    }
    request = chat_request("hi")
    response = dialect().decode(request, 200, {}, json.dumps(body).encode())

    assert (response.content, response.thinking, response.tool_calls[0].name) == ("text", "hm", "f")
    assert [part.type for part in response.parts] == ["thinking", "text", "tool_call"]
    assert response.parts[0].provider == "ollama"
    assert response.usage == Usage(input=3, output=4)
    assert response.raw == body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty"),
        (b"{", "json"),
        (b'{"message": {"content": "\xff"}}', "encoding"),
        (b'{"message": {"content": "x"}, "done": false}', "truncated"),
        (b"[" * 100_000, "json"),
        (b'{"message": {"content": "x"}, "done": true, "eval_count": NaN}', "json"),
    ],
)
def test_a_whole_answer_that_is_none_is_an_error(body, code):
    """F37, F45, F46, F47: with a type of ours, whatever the bytes."""
    with pytest.raises(ProviderError) as caught:
        dialect().decode(chat_request(), 200, {}, body)

    assert (caught.value.type, caught.value.code) == ("protocol", code)


def test_f40_an_error_with_status_200_is_an_error():
    with pytest.raises(ProviderError, match="runner") as caught:
        dialect().decode(chat_request(), 200, {}, b'{"error": "llama runner process has terminated"}')

    assert caught.value.type == "server_error"
