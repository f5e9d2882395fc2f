"""Calls that models write into their text are found in every common format, and other text is left alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.providers.transformers.tool_text import ToolTextParser, WrittenCall

PARIS = WrittenCall("weather", '{"city": "Paris"}')
CALL = '{"name": "weather", "arguments": {"city": "Paris"}}'


def parsed(*pieces: str) -> tuple[str, list[WrittenCall]]:
    """The text and the calls in *pieces*."""
    parser = ToolTextParser(["weather"])
    read = [*map(parser.feed, pieces), parser.end()]
    return "".join(text for text, _ in read), [call for _, calls in read for call in calls]


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"<tool_call>{CALL}",
        f"[TOOL_CALLS] [{CALL}]",
        '{"name": "weather", "parameters": {"city": "Paris"}}',
        f"<|python_tag|>{CALL}",
        f'\n{{"type": "function", "function": {CALL}}}',
    ],
    ids=["hermes", "hermes, not closed", "mistral", "llama", "llama with a tag", "openai"],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_call_is_found(text: str, size: int) -> None:
    """In whatever pieces it comes."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]

    shown, calls = parsed(*pieces)

    assert (shown.strip(), calls) == ("", [PARIS])


def test_several_calls_keep_their_order() -> None:
    """And the line breaks between them are no text."""
    rome = CALL.replace("Paris", "Rome")

    shown, calls = parsed(f"Let me see.\n<tool_call>{CALL}</tool_call>\n<tool_call>{rome}</tool_call>\n")

    assert shown == "Let me see.\n"
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Paris", "Rome"]


@pytest.mark.parametrize(
    "text",
    ["", "Hello.", "a < b", "<tool", "<tool_call>no json</tool_call>", '{"city": "Paris"}', '{"name": "unknown"}',
     "[1, 2]", "[TOOL_CALLS] nothing", '<tool_call>{"arguments": {}}</tool_call>', '{"name": "weather"', "  "],
)  # fmt: skip
def test_what_is_no_call_is_shown(text: str) -> None:
    """To the letter: a model may talk about JSON and tags."""
    assert parsed(*text) == (text, [])


@given(st.text(alphabet='<tool_cal>/{}[] "n', max_size=40), st.integers(1, 7))
def test_no_text_depends_on_its_pieces(text: str, size: int) -> None:
    """Nothing raises, and the same comes out however it is cut."""
    assert parsed(*[text[at : at + size] for at in range(0, len(text), size)]) == parsed(text)


def test_text_is_passed_on_while_it_comes() -> None:
    """Only what may still become a call is held."""
    parser = ToolTextParser(["weather"])

    assert [parser.feed("Hello "), parser.feed("there <"), parser.feed("3")] == [
        ("Hello ", []),
        ("there ", []),
        ("<3", []),
    ]


def test_broken_arguments_are_passed_on_as_they_are() -> None:
    """Whoever reads them flags them."""
    _, calls = parsed('<tool_call>{"name": "weather", "arguments": "{oops"}</tool_call>')

    assert calls == [WrittenCall("weather", "{oops")]
