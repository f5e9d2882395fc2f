"""Every recorded answer of the Gemini API and of Vertex AI says to us what it said to Google's own SDK."""

from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Usage
from core.llm.providers.base.response import LLMResponse
from tests.wire.gemini.recordings import Recording, recordings
from tests.wire.recorded import assert_framed, params

WITHOUT_ANSWER = {
    # recording -> (type, code): the SDK hands over an answer without content; for us that is no answer
    "gemini.generate.content_filter.4a398ef6": ("content_filter", "SAFETY"),
    "gemini.generate.content_filter_stream.d37f73c8": ("content_filter", "PROHIBITED_CONTENT"),
    "vertex.gemini.generate.content_filter.65692db7": ("content_filter", "MODEL_ARMOR"),
    "vertex.gemini.generate.odd_finish.4a1e480b": ("protocol", "UNEXPECTED_TOOL_CALL"),
}
PIECEWISE = {
    # recordings whose arguments arrive in pieces: the SDK does not join them, we do
    "gemini.generate.tools_stream.3ea45760": [
        ("getWeather", {"location": "Boston"}),
        ("getWeather", {"location": "San Francisco"}),
    ],
    "gemini.generate.tools_stream.41ef8b63": [
        ("read_theme", {}),
        ("read_screen", {"id": "A"}),
        ("read_screen", {"id": "B"}),
        ("read_screen", {"id": "C"}),
    ],
}
ERRORS = {
    "gemini.generate.error.2a0af747": ("rate_limit", 48.0),
    "gemini.generate.error.369174e7": ("invalid_request", None),
    "gemini.generate.error.78c0a954": ("context_length", None),
    "gemini.generate.error.b437f48b": ("authentication", None),
    "gemini.generate.error.ce6523f6": ("context_length", None),
    "gemini.generate.error.ed4c7d7d": ("model_not_found", None),
    "vertex.gemini.generate.error.39e877c2": ("context_length", None),
    "vertex.gemini.generate.error.4d328e47": ("invalid_request", None),
    "vertex.gemini.generate.error.70140a75": ("rate_limit", None),
    "vertex.gemini.generate.error.90ca33d7": ("model_not_found", None),
}
ANSWERS = [one for one in recordings("generate", error=False) if one.id not in WITHOUT_ANSWER]
STREAMS = [one for one in recordings("generate", error=False) if one.is_stream]


def said(response: LLMResponse) -> dict[str, Any]:
    """What an answer says, in the words of the recordings."""
    return {
        "text": response.content or None,
        "thinking_text": response.thinking or None,
        "tool_calls": [(call.name, dict(call.arguments)) for call in response.tool_calls],
        "finish_reason_raw": response.finish_reason.raw,
        "model": response.model,
    }


def expected_of(recording: Recording) -> dict[str, Any]:
    """What the SDK read."""
    expected = recording.expected
    calls = [(call["name"], call["arguments"]) for call in expected.get("tool_calls") or []]
    return {
        "text": expected.get("text") or None,
        "thinking_text": expected.get("thinking_text") or None,
        "tool_calls": PIECEWISE.get(recording.id, calls),
        "finish_reason_raw": expected["finish_reason_raw"],
        "model": expected["model"],
    }


def buckets(expected: dict[str, Any]) -> Usage:
    """Google's counts, in buckets that do not overlap."""
    count = {name: number or 0 for name, number in expected.items()}
    return Usage(
        input=count["input"] - count["cached"] + count["tool_use_input"],
        cache_read=count["cached"],
        output=count["output"],
        reasoning=count["reasoning"],
        estimated=not count["input"],
    )


def test_no_recording_is_left_out() -> None:
    """Both folders are read whole."""
    chosen = [*recordings("generate")]
    assert len(chosen) >= 70
    assert {one.id for one in chosen} >= WITHOUT_ANSWER.keys() | PIECEWISE.keys() | ERRORS.keys()


@pytest.mark.parametrize("recording", params(ANSWERS))
def test_an_answer_says_what_the_sdk_read(recording: Recording) -> None:
    """Text, thinking, calls, finish, model, and every token in exactly one bucket."""
    response = recording.response()
    assert said(response) == expected_of(recording)
    assert response.usage == buckets(recording.expected["usage"])
    # One provider in between leaves the total out.
    assert recording.expected["usage"]["total"] in {response.usage.total, None}


@pytest.mark.parametrize("recording", params(STREAMS))
def test_a_stream_is_the_same_however_it_is_cut(recording: Recording) -> None:
    """At every byte boundary, with either kind of line ends, and byte by byte."""
    body = recording.body
    whole = recording.outcome(body)
    step = max(len(body) // 2000, 1)
    for cut in range(0, len(body), step):
        assert recording.outcome(body[:cut], body[cut:]) == whole, cut
    assert recording.outcome(*(body[place : place + 1] for place in range(len(body)))) == whole
    crlf = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert recording.outcome(*(crlf[place : place + 7] for place in range(0, len(crlf), 7))) == whole
    if recording.id not in WITHOUT_ANSWER:
        assert_framed(recording.events(body))


@pytest.mark.parametrize("recording", params(STREAMS))
def test_a_stream_that_loses_its_end_is_an_error(recording: Recording) -> None:
    """Whatever came before the finish reason."""
    if recording.id in WITHOUT_ANSWER:
        return
    head = recording.body[: recording.body.rindex(b"data:")]
    if b'"finishReason"' in head:
        head = head[: head.index(b'"finishReason"')]
    with pytest.raises(ProviderError) as caught:
        recording.events(head)
    assert (caught.value.type, caught.value.code) in {("protocol", "truncated"), ("protocol", "empty")}


@pytest.mark.parametrize("name", sorted(WITHOUT_ANSWER))
def test_an_answer_without_content_is_an_error(name: str) -> None:
    """A blocked prompt or a withheld answer is never presented as success, and never tried again."""
    recording = next(one for one in recordings("generate") if one.id == name)
    with pytest.raises(ProviderError) as caught:
        recording.response()
    error = caught.value
    assert (error.type, error.code) == WITHOUT_ANSWER[name]
    assert error.code in {recording.expected.get("block_reason"), recording.expected.get("finish_reason_raw")}
    assert error.retryable is (error.type == "protocol")


@pytest.mark.parametrize("recording", params(recordings("generate", error=True)))
def test_a_refusal_is_classified(recording: Recording) -> None:
    """By reason, status and wording, with the provider's own words and hint."""
    with pytest.raises(ProviderError) as caught:
        recording.response()
    error = caught.value
    assert (error.type, error.retry_after) == ERRORS[recording.id]
    assert error.status_code == recording.expected["error"]["status"]
    assert recording.expected["error"]["message"].split(".")[0][:60] in error.message


def test_the_window_is_read_from_a_refusal() -> None:
    """The router needs to know how small the model was."""
    recording = next(one for one in recordings("generate") if one.id == "gemini.generate.error.ce6523f6")
    with pytest.raises(ProviderError) as caught:
        recording.response()
    assert caught.value.context_window == 1048575
