"""A model that refuses says so in a place of its own, and it is never taken for text or for an answer to a question."""

from typing import Any

import pytest
from pydantic_core import to_json

from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from core.llm.providers.base.response import LLMResponse, RefusalDelta, ResponseCollector, StreamEvent, ThinkingDelta
from tests.unit.dialects import chat

REFUSED = {"type": "message", "id": "m_1", "content": [{"type": "refusal", "refusal": "I can't."}]}
PIECES = [
    {"type": "response.refusal.delta", "output_index": 0, "item_id": "m_1", "delta": piece}
    for piece in ("I ", "can't.")
]


def over(*output: Any) -> dict[str, Any]:
    """The last event of a stream of the Responses format."""
    return {"type": "response.completed", "response": {"status": "completed", "output": list(output)}}


def streamed(body: bytes) -> list[StreamEvent]:
    """What the decoder of the Responses format makes of a body."""
    decoder = OpenAIResponsesDialect().decoder(chat.chat(stream=True), {})
    return decoder.feed(body) + decoder.end()


def amounts_to(events: list[StreamEvent]) -> LLMResponse:
    """The answer in *events*."""
    collector = ResponseCollector()
    for event in events:
        collector.add(event)
    return collector.response()


@pytest.mark.parametrize(
    "body",
    [
        chat.sse(*PIECES, over(), done=False),
        chat.sse(*PIECES, over(REFUSED), done=False),
        chat.sse(over(REFUSED), done=False),
        to_json({"object": "response", "status": "completed", "output": [REFUSED]}),
    ],
    ids=["in pieces", "in pieces and whole", "only in the last event", "no stream at all"],
)
def test_a_streamed_refusal_is_told_once(body: bytes) -> None:
    """However much of it the server repeats."""
    found = amounts_to(streamed(body))
    assert (found.refusal, found.content, found.finish_reason.unified) == ("I can't.", "", "refusal")


def test_a_refusal_with_a_good_status_is_no_stop() -> None:
    """The Responses format calls it completed."""
    body = to_json({"status": "completed", "model": "big-1", "output": [REFUSED]})
    found = OpenAIResponsesDialect().decode(chat.chat(), 200, {}, body)
    assert (found.refusal, found.content, found.finish_reason.unified) == ("I can't.", "", "refusal")


def test_a_whole_chat_answer_in_the_place_of_a_stream_keeps_refusal_and_thoughts() -> None:
    """Proxies send one; nothing of it goes missing on the way to events."""
    message = {"role": "assistant", "content": None, "reasoning_content": "hm", "refusal": "I can't."}
    found = chat.events(to_json(chat.answer(message)))
    assert [event for event in found if isinstance(event, ThinkingDelta)] == [ThinkingDelta("hm")]
    assert [event for event in found if isinstance(event, RefusalDelta)] == [RefusalDelta("I can't.")]
