"""Estimates where nobody has counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.common.messages import ImagePart, Message, TextPart, ToolCall, ToolResultPart
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.tokens import estimate_input, estimate_request, estimate_text, least_input


def test_no_text_is_no_token_and_any_text_at_least_one() -> None:
    """Prose has between four and five letters to a token."""
    assert estimate_text("") == 0
    assert estimate_text("a") == 1
    assert estimate_text("four letters per token") == 5


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("The quick brown fox jumps over the lazy dog. " * 10, 85, 110),
        ("def f(a, b):\n    return {k: v[0] for k, v in a.items()}\n" * 10, 160, 260),
        ("我能吞下玻璃而不伤身体。" * 10, 80, 140),
        ("Съешь ещё этих мягких французских булок. " * 10, 130, 240),
        ("👍🏽" * 10, 10, 60),
    ],
    ids=["prose", "code", "chinese", "russian", "emoji"],
)
def test_scripts_differ_in_characters_per_token(text: str, low: int, high: int) -> None:
    """Code has shorter tokens than prose, and a Chinese character is nearly one."""
    assert low <= estimate_text(text) <= high


@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_the_estimate_lies_within_its_bound(text: str) -> None:
    """Whatever the text, lone surrogates included."""
    found = estimate_request(LLMRequest(messages=[Message("user", text)]))
    assert found.low <= found.tokens <= found.high


@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_the_sure_bound_is_never_above_the_estimate(text: str) -> None:
    """What is used to refuse a request stays below what is used to bill one; lone surrogates harm neither."""
    request = LLMRequest(messages=[Message("user", text)])
    assert least_input(request) <= estimate_input(request)


def test_everything_that_is_sent_counts() -> None:
    """Pictures, tool calls, tool results and tool definitions add to the prompt."""
    plain = estimate_input(LLMRequest(messages=[Message("user", (TextPart("look"),))]))
    with_picture = estimate_input(LLMRequest(messages=[Message("user", (TextPart("look"), ImagePart(url="u")))]))
    with_tools = estimate_input(
        LLMRequest(
            messages=[Message("user", (TextPart("look"),))], tools=[{"name": "look_up", "description": "d" * 40}]
        )
    )
    history = [
        Message("user", (TextPart("look"),)),
        Message("assistant", "", tool_calls=(ToolCall("1", "look_up", {"word": "w" * 80}),)),
        Message("tool", (ToolResultPart("1", "r" * 80),)),
    ]
    assert with_picture >= plain + 500
    assert with_tools > plain + 10
    assert estimate_input(LLMRequest(messages=history)) >= plain + 40
