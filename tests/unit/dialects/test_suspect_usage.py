"""Numbers of tokens that cannot be true reach whoever called as a warning, whole answer or stream, in every format."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic_core import to_json

from core.llm.dialects.anthropic_chat import AnthropicDialect
from core.llm.dialects.anthropic_usage import usage_from_anthropic
from core.llm.dialects.gemini import GeminiDialect
from core.llm.dialects.gemini_usage import usage_from_gemini
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from tests.unit.dialects import anthropic_support, chat, gemini_chat

OPENAI = {"prompt_tokens": -1, "completion_tokens": 2}
ANTHROPIC = {"input_tokens": -1, "output_tokens": 2}
GEMINI = {"promptTokenCount": -1, "candidatesTokenCount": 2}
RESPONSE = {
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
    "usage": {"input_tokens": -1, "output_tokens": 2},
}
TEXT = anthropic_support.block(0, {"type": "text", "text": "Hi"})
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": ANTHROPIC}

FORMATS: dict[str, tuple[Any, Callable[..., Any], Any, bytes]] = {
    "chat": (
        OpenAIChatDialect(),
        chat.chat,
        chat.answer(usage=OPENAI),
        chat.sse(chat.chunk({"content": "Hi"}), chat.chunk(finish="stop", usage=OPENAI)),
    ),
    "responses": (
        OpenAIResponsesDialect(),
        chat.chat,
        RESPONSE,
        chat.sse({"type": "response.completed", "response": RESPONSE}, done=False),
    ),
    "messages": (
        AnthropicDialect(),
        anthropic_support.chat,
        anthropic_support.answer({"type": "text", "text": "Hi"}, usage=ANTHROPIC),
        anthropic_support.sse(anthropic_support.START, *TEXT, END, anthropic_support.STOP),
    ),
    "gemini": (
        GeminiDialect(),
        gemini_chat.chat,
        gemini_chat.chunk({"text": "Hi"}, finish="STOP", usageMetadata=GEMINI),
        gemini_chat.sse(gemini_chat.chunk({"text": "Hi"}, finish="STOP", usageMetadata=GEMINI)),
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_impossible_usage_is_told_with_the_answer(name: str) -> None:
    """A budget counts with an estimate then, and somebody should know why."""
    dialect, request_of, whole, stream = FORMATS[name]
    request = request_of()
    assert dialect.decode(request, 200, {}, to_json(whole)).usage.estimated
    assert [warning.code for warning in request.warnings] == ["suspect_usage"]
    request = request_of(stream=True)
    decoder = dialect.decoder(request, {})
    decoder.feed(stream)
    decoder.end()
    assert [warning.code for warning in request.warnings] == ["suspect_usage"]


def test_thoughts_never_count_more_than_the_output_that_they_are_part_of() -> None:
    """Otherwise the rest of the output would be negative."""
    raw = {"input_tokens": 1, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 8}}
    usage, warning = usage_from_anthropic(raw)
    assert (usage.output, usage.reasoning, usage.total) == (0, 5, 6)
    assert warning is not None
    assert "8 thinking tokens in an output of 5" in warning.message


def test_a_total_below_its_parts_is_suspect() -> None:
    """The parts are what is counted: they are the dearer reading."""
    usage, warning = usage_from_gemini({"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 10})
    assert (usage.total, usage.estimated) == (12, False)
    assert warning is not None
    assert "a total of 10 tokens for 12 counted ones" in warning.message
