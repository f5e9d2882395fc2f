"""What a stream still holds back when it ends: all of it is delivered, or the stream is an error."""

import pytest
from pydantic_core import to_json

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.providers.base.response import StreamFinish, ToolCallReady
from tests.unit.dialects import anthropic_support, chat, gemini_chat
from tests.unit.dialects.anthropic_support import START, STOP, block, ending

FINISH = chat.chunk(finish="stop")


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        (("<think>hm</thi",), ("hm</thi", "")),
        (("<think>", "never closed <"), ("never closed <", "")),
        (("<th",), ("", "<th")),
        (("Hi",), ("", "Hi")),
    ],
)
def test_the_beginning_of_a_tag_that_never_came_is_part_of_the_answer(
    pieces: tuple[str, ...], wanted: tuple[str, str]
) -> None:
    """It was held back because it might have become one."""
    body = chat.sse(*(chat.chunk({"content": piece}) for piece in pieces), FINISH)
    found = chat.collected(body, think_tags=True)
    assert (found.thinking, found.content) == wanted


def test_a_block_that_is_never_closed_is_complete_with_its_message() -> None:
    """Servers that imitate the Messages format forget the event; the arguments of a call are all there."""
    tool = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    opened = block(0, tool, {"type": "input_json_delta", "partial_json": '{"a": 1}'})[:-1]
    found = anthropic_support.events(anthropic_support.sse(START, *opened, ending("tool_use"), STOP))
    ready = [event.call for event in found if isinstance(event, ToolCallReady)]
    assert ready == [ToolCall("t1", "f", {"a": 1})]
    assert isinstance(found[-1], StreamFinish)


def test_thoughts_that_stand_in_the_beginning_of_their_block_are_kept() -> None:
    """With the signature without which they cannot be sent back."""
    whole = block(0, {"type": "thinking", "thinking": "hm", "signature": "s"})
    found = anthropic_support.collected(anthropic_support.sse(START, *whole, ending(), STOP))
    assert [(part.text, part.signature) for part in found.parts if part.type == "thinking"] == [("hm", "s")]


def test_a_message_that_ends_before_it_began_is_no_answer() -> None:
    """Its reason for stopping alone says nothing."""
    with pytest.raises(ProviderError) as caught:
        anthropic_support.events(anthropic_support.sse(ending(), STOP))
    assert (caught.value.type, caught.value.code) == ("protocol", "schema")


def test_a_list_that_stops_without_a_reason_is_cut() -> None:
    """Where chunks come as one JSON array, its closing bracket is no terminal marker."""
    with pytest.raises(ProviderError) as caught:
        gemini_chat.events(to_json([gemini_chat.chunk({"text": "Hi"})]))
    assert (caught.value.type, caught.value.code, caught.value.billing) == ("protocol", "truncated", "estimated")
