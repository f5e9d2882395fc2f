"""Joining the rest of an answer on: nothing twice, nothing lost."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.common.messages import ToolCall
from core.llm.common.types import FinishReason, ModelRef
from core.llm.pipeline.mid_stream_join import Joint, cannot_continue, continued
from core.llm.providers.base.request import LLMRequest, ResponseFormat
from core.llm.providers.base.response import (
    RefusalDelta,
    ResponseCollector,
    StreamEvent,
    StreamFinish,
    StreamReset,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallReady,
)

TEXTS = st.text(alphabet="ab \n\té", max_size=12)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    """*text* cut at *cuts*."""
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(places)]


@given(whole=TEXTS, at=st.integers(0, 12), cuts=st.lists(st.integers(0, 12), max_size=4))
def test_G13_any_text_cut_anywhere_is_whole_again(whole: str, at: int, cuts: list[int]) -> None:
    """The model goes on from the stripped text with the very characters that followed it."""
    delivered = whole[:at]
    stripped = delivered.rstrip()
    continuation = whole[len(stripped) :]
    joint = Joint(delivered)
    joined = delivered + "".join(joint.fit(piece) for piece in pieces_of(continuation, cuts))
    assert joined == whole
    assert delivered + joint.kept(continuation) == whole


@pytest.mark.parametrize(
    ("delivered", "continuation", "whole"),
    [
        ("The quick ", " brown", "The quick brown"),
        ("The quick ", "brown", "The quick brown"),
        ("The quick", " brown", "The quick brown"),
        ("Item:\n\n", "\n\n1.", "Item:\n\n1."),
        ("Item:\n\n", "\n1.", "Item:\n\n1."),
        ("Item: ", "\n1.", "Item: \n1."),
        ("Item: ", "", "Item: "),
    ],
)
def test_G13_white_space_at_the_joint(delivered: str, continuation: str, whole: str) -> None:
    """What had been delivered of it is not delivered again; what differs is the model's own, and stays."""
    assert delivered + Joint(delivered).fit(continuation) == whole


def test_the_prompt_ends_with_the_delivered_text_and_the_token_cap_shrinks() -> None:
    """White space at the end is left out, as servers refuse it; the answer as a whole keeps its cap."""
    asked = LLMRequest(messages="hi", max_tokens=100, temperature=0.5)
    request = continued(asked, "The quick brown fox ")
    assert [(message.role, message.text) for message in request.messages] == [
        ("user", "hi"),
        ("assistant", "The quick brown fox"),
    ]
    assert request.max_tokens is not None
    assert 90 <= request.max_tokens < 100
    assert request.temperature == 0.5
    assert asked.messages[-1].role == "user"


def test_at_least_one_token_is_asked_for() -> None:
    """A cap of zero is no request."""
    assert continued(LLMRequest(messages="hi", max_tokens=2), "many more words than that").max_tokens == 1


def said(*events: StreamEvent) -> ResponseCollector:
    """What a stream has brought so far."""
    collector = ResponseCollector()
    for event in (StreamStart("m", "p"), *events):
        collector.add(event)
    return collector


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([TextDelta("so far")], None),
        ([TextDelta("   ")], "no text yet"),
        ([], "no text yet"),
        ([ThinkingDelta("hm"), TextDelta("so far")], "other than text"),
        ([TextDelta("so far"), RefusalDelta("no")], "refusing"),
        ([TextDelta("so far"), ToolCallReady(0, ToolCall("1", "look", {}))], "other than text"),
    ],
)
def test_only_text_is_continued(events: list[StreamEvent], reason: str | None) -> None:
    """Everything else would be half of something."""
    found = cannot_continue(said(*events), LLMRequest(messages="hi"), in_tool_call=False)
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_nothing_is_continued_inside_a_tool_call_or_an_object() -> None:
    """Half an argument is not a beginning."""
    text = said(TextDelta("so far"))
    assert cannot_continue(text, LLMRequest(messages="hi"), in_tool_call=True) == "it broke in a tool call"
    wanted = LLMRequest(messages="hi", response_format=ResponseFormat(schema={"type": "object"}))
    assert cannot_continue(text, wanted, in_tool_call=False) == "an object was asked for"


def test_a_reset_empties_the_collector() -> None:
    """What was before is void: text, finish, usage, start."""
    collector = said(TextDelta("void"), StreamFinish(FinishReason("stop")))
    assert (collector.text(), collector.characters) == ("void", 4)
    collector.add(StreamReset("body_cut", ModelRef("b", "m")))
    assert (collector.text(), collector.characters, collector.finish, collector.start) == ("", 0, None, None)
    collector.add(TextDelta("new"))
    assert collector.text() == "new"
