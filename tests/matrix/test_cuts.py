"""A recorded stream that ends too early is the whole answer, or an error with exactly what came before: never a part."""

import random

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.response import ResponseCollector, StreamFinish
from tests.matrix.recorded import Recording, recordings

CHATS = {
    "anthropic.messages", "bedrock.converse", "gemini.generate", "ollama.chat", "openai.chat", "openai.completions",
    "openai.responses",
}  # fmt: skip
STREAMS = [one for one in recordings() if one.is_stream and one.wire in CHATS and one.status == 200]
TAIL = 40
"""Every byte of so many at the end is a cut, where most of what can go wrong goes wrong."""
ELSEWHERE = 60
"""Cuts anywhere before."""


def received(recording: Recording, body: bytes) -> tuple[ResponseCollector, bool, ProviderError | None]:
    """What a stream with this body amounts to, whether it said that it was complete, and its error."""
    decoder = recording.dialect.decoder(recording.request(), recording.headers)
    collector, finished, error = ResponseCollector(), False, None
    try:
        for step in (lambda: decoder.feed(body), decoder.end):
            for event in step():
                finished = finished or isinstance(event, StreamFinish)
                collector.add(event)
    except ProviderError as raised:
        error = raised
    return collector, finished, error


def said(collector: ResponseCollector) -> tuple[str, str, tuple[object, ...]]:
    """Text, thinking and calls so far."""
    partial = collector.partial()
    return partial.text, partial.thinking, partial.tool_calls


@pytest.mark.parametrize("recording", [pytest.param(one, id=one.id) for one in STREAMS])
def test_a_cut_stream_is_the_whole_answer_or_an_error_with_its_beginning(recording: Recording) -> None:
    """Behind the reason to stop only the usage may be missing, which is then to be estimated."""
    body = recording.body
    whole, _, failed = received(recording, body)
    text, thinking, calls = said(whole)
    rng = random.Random(recording.id)
    cuts = {rng.randrange(len(body)) for _ in range(ELSEWHERE)} | set(range(max(0, len(body) - TAIL), len(body)))
    for cut in sorted(cuts):
        found, finished, error = received(recording, body[:cut])
        some = said(found)
        assert text.startswith(some[0]), cut
        assert thinking.startswith(some[1]), cut
        assert calls[: len(some[2])] == some[2], cut
        assert finished == (error is None), cut
        if error is None:
            assert some == (text, thinking, calls), cut
            assert failed or found.finish == whole.finish, cut
            assert found.usage is None or found.usage.estimated or found.usage == whole.usage, cut
        elif failed is None:
            assert (error.type, error.retryable) == ("protocol", True), cut
            assert error.code in {"truncated", "empty", "json"}, cut


def test_every_wire_that_streams_is_here() -> None:
    """A new one has to be added above."""
    assert {one.wire for one in STREAMS} == CHATS
    assert len(STREAMS) > 130
