"""What does not belong together is kept apart, and what does is not torn: candidates, calls, lines."""

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.dialects.errors import classify, error_of
from core.llm.dialects.framing import LineSplitter
from tests.unit.dialects import chat, gemini_chat


def test_other_candidates_are_no_part_of_the_answer() -> None:
    """Wherever they stand in a chunk, and where they have one of their own."""
    second = {"index": 1, "content": {"parts": [{"text": "NO"}]}, "finishReason": "SAFETY"}
    both = gemini_chat.chunk({"text": "Hi"})
    both["candidates"].insert(0, second)
    alone = {"candidates": [second]}
    found = gemini_chat.collected(gemini_chat.sse(both, alone, gemini_chat.chunk({"text": "!"}, finish="STOP"), alone))
    assert (found.content, found.finish_reason.raw) == ("Hi!", "STOP")


def test_a_name_that_is_repeated_in_the_middle_of_arguments_begins_no_other_call() -> None:
    """A brace inside a text is no end of the arguments."""
    pieces = [{"name": "f", "arguments": '{"a": "x}'}, {"name": "f", "arguments": '"}'}]
    body = chat.sse(
        *(chat.chunk({"tool_calls": [{"index": 0, "function": piece}]}) for piece in pieces), chat.chunk(finish="stop")
    )
    (call,) = chat.collected(body).tool_calls
    assert isinstance(call, ToolCall)
    assert (call.name, dict(call.arguments)) == ("f", {"a": "x}"})


def test_f71_a_line_without_end_is_refused_behind_whole_ones_too() -> None:
    """F71: it would be kept for ever."""
    splitter = LineSplitter(max_event=8)
    assert splitter.feed(b"{}\n12345678") == [b"{}"]
    with pytest.raises(ProviderError) as caught:
        LineSplitter(max_event=8).feed(b"{}\n123456789")
    assert caught.value.code == "too_large"


def test_a_status_that_an_error_in_a_stream_writes_as_text_counts() -> None:
    """It decides whether the call is tried again."""
    error = classify(error_of({"error": {"message": "slow down", "code": "429"}}))
    assert (error.type, error.status_code, error.retryable) == ("rate_limit", 429, True)
