"""Streams and answers of the Responses format beyond what was recorded: odd order, failures, early ends."""

from typing import Any

import pytest
from pydantic_core import to_json

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from core.llm.providers.base.response import LLMResponse, ResponseCollector, StreamEvent
from tests.unit.dialects.chat import chat, sse

CREATED = {"type": "response.created", "response": {"model": "big-1", "status": "in_progress"}}
TEXT = {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"}
USAGE = {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6}


def ending(kind: str = "completed", **fields: Any) -> dict[str, Any]:
    """The event that ends an answer."""
    return {"type": f"response.{kind}", "response": {"status": kind, "output": [], "usage": USAGE, **fields}}


def events(*shown: Any, done: bool = False) -> list[StreamEvent]:
    """What a fresh decoder makes of a whole stream."""
    decoder = OpenAIResponsesDialect().decoder(chat(stream=True), {})
    return decoder.feed(sse(*shown, done=done)) + decoder.end()


def collected(*shown: Any, done: bool = False) -> LLMResponse:
    """The answer a stream amounts to."""
    collector = ResponseCollector()
    for event in events(*shown, done=done):
        collector.add(event)
    return collector.response()


def error_of(*shown: Any) -> ProviderError:
    """What a stream raises."""
    with pytest.raises(ProviderError) as caught:
        events(*shown)
    return caught.value


def decoded(**fields: Any) -> LLMResponse:
    """A whole answer, decoded."""
    body = {"object": "response", "status": "completed", "model": "big-1", "output": [], **fields}
    return OpenAIResponsesDialect().decode(chat(), 200, {}, to_json(body))


def test_unknown_events_say_nothing() -> None:
    """OpenAI adds kinds of events; none of them may break an answer."""
    answer = collected(CREATED, {"type": "response.new.thing", "delta": 7}, TEXT, {"type": "ping"}, ending())
    assert (answer.content, answer.model, answer.usage.total) == ("Hi", "big-1", 6)


def test_done_alone_ends_an_answer() -> None:
    """Some servers send no last event; what they did send is whole."""
    answer = collected(CREATED, TEXT, done=True)
    assert (answer.content, answer.finish_reason.unified, answer.finish_reason.raw) == ("Hi", "stop", None)


def test_without_any_end_it_was_cut() -> None:
    """Although there is text that could pass for an answer."""
    error = error_of(CREATED, TEXT)
    assert (error.type, error.code, error.billing) == ("protocol", "truncated", "estimated")


def test_an_answer_that_comes_only_with_the_last_event_is_read() -> None:
    """No pieces were sent."""
    items = [
        {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "enc"},
        {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
        {"type": "web_search_call", "id": "ws", "status": "completed"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    answer = collected(CREATED, ending(output=items))
    assert (answer.content, answer.tool_calls[0].id, answer.parts[0].type) == ("Hi", "c", "thinking")
    assert answer.finish_reason.unified == "tool_calls"


def test_pieces_of_two_calls_are_told_apart_by_their_place() -> None:
    """The ids of some gateways change with every event; a call that is never said to be done is complete at the end."""
    call = {"type": "function_call", "name": "f", "arguments": ""}
    answer = collected(
        CREATED,
        {"type": "response.output_item.added", "output_index": 0, "item": {**call, "call_id": "a", "id": "x1"}},
        {"type": "response.output_item.added", "output_index": 1, "item": {**call, "call_id": "b", "id": "x2"}},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "x9", "delta": '{"n":2}'},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "x8", "delta": '{"n":1}'},
        ending(),
    )
    assert [(one.id, one.arguments) for one in answer.tool_calls] == [("a", {"n": 1}), ("b", {"n": 2})]


def test_pieces_of_reasoning_stay_apart() -> None:
    """Two parts of one summary and an item without text keep what identifies them."""
    part = {"type": "response.reasoning_summary_part.added", "output_index": 0, "item_id": "rs_1"}
    text = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "item_id": "rs_1"}
    first = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "enc-1"}
    second = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "enc-2"}
    answer = collected(
        CREATED,
        {**part, "summary_index": 0},
        {**text, "delta": "one"},
        {**part, "summary_index": 1},
        {**text, "delta": "two"},
        {"type": "response.output_item.done", "output_index": 0, "item": first},
        {"type": "response.output_item.done", "output_index": 1, "item": second},
        {"type": "response.output_item.added", "output_index": 2, "item": {"type": "message", "phase": "final_answer"}},
        {**TEXT, "output_index": 2},
        ending(),
    )
    found = [(one.text, one.signature, one.redacted) for one in answer.parts if one.type == "thinking"]
    assert found == [
        ("one", "rs_1", None),
        ("two", "rs_1", "enc-1"),
        ("", "rs_2", "enc-2"),
        ("", "phase:final_answer", None),
    ]
    assert answer.content == "Hi"


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None}, "rate_limit"),
        ({"type": "error", "error": {"code": "insufficient_quota", "message": "pay"}}, "quota_exceeded"),
        ({"error": {"message": "boom", "code": "server_error"}}, "server_error"),
        (ending("failed", error={"code": "server_error", "message": "boom"}), "server_error"),
        (ending("failed", error={"code": "content_filter", "message": "no"}), "content_filter"),
        (ending("cancelled"), "server_error"),
    ],
)
def test_an_error_in_the_middle_is_that_error(event: dict[str, Any], kind: str) -> None:
    """With what it says about money: something had been delivered."""
    error = error_of(CREATED, TEXT, event)
    assert (error.type, error.billing) == (kind, "estimated")


@pytest.mark.parametrize(
    ("reason", "unified"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("new", "other")]
)
def test_an_incomplete_answer_says_why(reason: str, unified: str) -> None:
    """Whole and streamed alike."""
    details = {"incomplete_details": {"reason": reason}}
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    streamed = collected(CREATED, TEXT, ending("incomplete", **details))
    whole = decoded(status="incomplete", output=[message], **details)
    assert (streamed.finish_reason.unified, streamed.finish_reason.raw) == (unified, reason)
    assert whole.finish_reason == streamed.finish_reason


def test_an_answer_that_a_filter_left_nothing_of_is_an_error() -> None:
    """It is never tried again."""
    error = error_of(CREATED, ending("incomplete", incomplete_details={"reason": "content_filter"}))
    assert (error.type, error.retryable) == ("content_filter", False)


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_an_answer_that_is_none_yet_is_refused(status: str) -> None:
    """Asking again would pay for another one."""
    with pytest.raises(ProviderError) as caught:
        decoded(status=status)
    assert (caught.value.code, caught.value.retryable) == (status, False)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.delta", "delta": 7},
        {"type": "response.output_item.added", "item": "x"},
        {"type": "response.output_item.done", "item": None},
        {"type": "response.function_call_arguments.delta", "delta": "{"},
        {"type": "response.completed"},
        {"type": "response.output_item.done", "item": {"type": "function_call"}},
        b"data: [1]\n\n",
    ],
)
def test_nonsense_is_a_protocol_error(event: Any) -> None:
    """And nothing else."""
    assert error_of(CREATED, event).type == "protocol"
