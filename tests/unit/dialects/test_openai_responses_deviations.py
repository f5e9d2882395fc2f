"""Streams of the Responses format that leave events out, or say in the last one what they never said before."""

from typing import Any

import pytest
from pydantic_core import to_json

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from core.llm.providers.base.response import LLMResponse, ResponseCollector
from tests.unit.dialects.chat import chat, sse

CREATED = {"type": "response.created", "response": {"model": "big-1", "status": "in_progress"}}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": '{"x":1}'}
OPENED = {**CALL, "arguments": ""}
CUSTOM = {"type": "custom_tool_call", "id": "ct_1", "call_id": "c", "name": "grep", "input": "-r foo"}


def message(*texts: str) -> dict[str, Any]:
    """A message as an output item."""
    return {"type": "message", "id": "m_1", "content": [{"type": "output_text", "text": text} for text in texts]}


def text(delta: str, index: int = 0) -> dict[str, Any]:
    """A piece of text."""
    return {"type": "response.output_text.delta", "output_index": index, "item_id": "m_1", "delta": delta}


def item(kind: str, inner: Any, index: int = 0) -> dict[str, Any]:
    """An item that begins (`added`) or ends (`done`)."""
    return {"type": f"response.output_item.{kind}", "output_index": index, "item": inner}


def ending(*output: Any, status: str = "completed", **fields: Any) -> dict[str, Any]:
    """The last event."""
    return {"type": "response.completed", "response": {"status": status, "output": list(output), **fields}}


def collected(*shown: Any, headers: dict[str, str] | None = None, done: bool = False) -> LLMResponse:
    """The answer that a stream amounts to."""
    request = chat(stream=True)
    decoder, collector = OpenAIResponsesDialect().decoder(request, headers or {}), ResponseCollector()
    for event in [*decoder.feed(sse(CREATED, *shown, done=done)), *decoder.end()]:
        collector.add(event)
    found = collector.response()
    found.warnings = tuple(request.warnings)
    return found


def decoded(*output: Any) -> LLMResponse:
    """A whole answer with these items, decoded."""
    request = chat()
    found = OpenAIResponsesDialect().decode(request, 200, {}, to_json({"status": "completed", "output": list(output)}))
    found.warnings = tuple(request.warnings)
    return found


@pytest.mark.parametrize(
    "shown",
    [
        [item("added", OPENED), ending(CALL)],
        [item("added", OPENED), {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"x":1}'}, ending()],
        [item("added", OPENED), {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"x"'}, ending(CALL)],
        [item("added", OPENED), item("done", OPENED), ending(CALL)],
        [item("added", OPENED), item("done", {**CALL, "arguments": {"x": 1}}), ending()],
        [item("done", CALL), ending(CALL)],
        [ending({**CALL, "arguments": {"x": 1}})],
    ],
    ids=["only in the last event", "only when done", "cut pieces", "done without", "an object", "never begun", "an object at the end"],
)  # fmt: skip
def test_a_call_never_goes_out_without_the_arguments_that_were_sent(shown: list[dict[str, Any]]) -> None:
    """Run with none, it would do something else than the model asked for."""
    assert collected(*shown).tool_calls == (ToolCall("c", "f", {"x": 1}),)


def test_a_mark_of_the_models_own_format_is_no_part_of_a_tools_name() -> None:
    """Servers with gpt-oss pass on the channel that it writes behind the name."""
    named = {**CALL, "name": "f<|channel|>json"}
    for shown in ([item("added", named), item("done", named), ending()], [ending(named)]):
        assert collected(*shown).tool_calls == (ToolCall("c", "f", {"x": 1}),)


def test_a_call_without_arguments_is_complete_at_the_end() -> None:
    """By the last event, or by the mark that some send in its place."""
    begun = [item("added", OPENED), item("done", OPENED)]
    for found in (collected(*begun, ending(OPENED)), collected(*begun, ending()), collected(*begun, done=True)):
        assert found.tool_calls == (ToolCall("c", "f", {}),)


def test_a_call_that_only_the_last_event_tells_of_is_not_lost() -> None:
    """The text before it came in pieces."""
    for shown in ([text("Hi")], [item("added", message()), text("Hi"), item("done", message("Hi"))]):
        found = collected(*shown, ending(message("Hi"), CALL))
        assert (found.content, found.tool_calls) == ("Hi", (ToolCall("c", "f", {"x": 1}),))
        assert found.finish_reason.unified == "tool_calls"


def test_items_are_told_apart_by_their_ids_where_the_last_event_numbers_them_anew() -> None:
    """What was left out of it moves the others up; nothing comes twice."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    shown = [item("added", thought), item("done", thought), item("added", message(), 1), text("Hi", 1)]
    found = collected(*shown, item("done", message("Hi"), 1), item("done", CALL, 2), ending(message("Hi"), CALL))
    assert (found.content, len(found.tool_calls)) == ("Hi", 1)
    first, second = {**message("Oh"), "id": "m_0"}, {**message("Hi"), "id": "m_1"}
    found = collected(item("added", {**second, "content": []}), text("Hi"), item("done", second), ending(first, second))
    assert sorted(part.text for part in found.parts if part.type == "text") == ["HiOh"]


@pytest.mark.parametrize(
    "shown",
    [
        {"type": "response.output_text.done", "output_index": 0, "item_id": "m_1", "text": "Hi"},
        {"type": "response.content_part.done", "output_index": 0, "part": {"type": "output_text", "text": "Hi"}},
    ],
)
def test_text_that_comes_only_when_it_is_done_is_text(shown: dict[str, Any]) -> None:
    """And is said once, where it had come in pieces before."""
    assert collected(item("added", message()), shown, ending()).content == "Hi"
    assert collected(text("H"), text("i"), shown, item("done", message("Hi")), ending(message("Hi"))).content == "Hi"


def test_calls_of_free_text_are_kept_and_flagged() -> None:
    """What OpenAI calls a custom tool: its input is no JSON."""
    piece = {"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": "-r foo"}
    streamed = collected(item("added", {**CUSTOM, "input": ""}), piece, item("done", CUSTOM), ending(CUSTOM))
    for found in (streamed, decoded(CUSTOM)):
        (one,) = found.tool_calls
        assert (one.id, one.name, one.raw_arguments) == ("c", "grep", "-r foo")
        assert found.finish_reason.unified == "tool_calls"


def test_what_has_no_form_here_is_reported() -> None:
    """A picture, or a question that waits for an answer; the traces of the provider's own tools are no part of it."""
    for kind in ("image_generation_call", "mcp_approval_request", "computer_call"):
        lost = {"type": kind, "id": "x_1"}
        for found in (collected(item("done", lost), text("Hi", 1), ending(lost)), decoded(lost, message("Hi"))):
            assert [(one.code, one.parameter) for one in found.warnings] == [("dropped", "response")]
            assert kind in found.warnings[0].message
    silent = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert collected(item("done", silent), text("Hi", 1), ending(silent)).warnings == ()


def test_small_slips_lose_no_answer() -> None:
    """A null piece, a status that was not brought up to date, a content that is a plain text."""
    assert collected(text("Hi"), {**text(""), "delta": None}, ending()).content == "Hi"
    assert collected(text("Hi"), ending(status="in_progress")).finish_reason.unified == "stop"
    assert decoded({"type": "message", "content": "Hi"}).content == "Hi"


def test_an_error_keeps_the_id_of_the_request() -> None:
    """However it is told."""
    failed = {"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error"}}}
    for shown in ({"type": "error", "message": "boom"}, failed):
        with pytest.raises(ProviderError) as caught:
            collected(text("Hi"), shown, headers={"x-request-id": "req-7"})
        assert caught.value.request_id == "req-7"
