"""Ways in which servers of the OpenAI format leave it, of which no recording is here: nothing of the answer gets lost."""

from typing import Any

import pytest
from pydantic_core import to_json

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Usage
from core.llm.providers.base.request import ChatRequest
from tests.unit.dialects.chat import answer, chat, chunk, collected, decoded, events, sse

HI = chunk({"role": "assistant", "content": "Hi"})
STOP = chunk(finish="stop")
USAGE = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}


def several(*choices: dict[str, Any]) -> dict[str, Any]:
    """One chunk with several choices."""
    return {"id": "c1", "model": "big-1", "choices": list(choices)}


def choice(index: Any, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One choice of a chunk."""
    return {"index": index, "delta": delta, "finish_reason": finish}


def refused(body: bytes, **more: Any) -> ProviderError:
    """The error that a stream ends with."""
    with pytest.raises(ProviderError) as caught:
        events(body, **more)
    return caught.value


def warned(body: bytes | dict[str, Any]) -> tuple[ChatRequest, list[tuple[str, str | None]]]:
    """The request of an answer, and what was said about it."""
    request = chat(stream=isinstance(body, bytes))
    found = collected(body, request=request) if isinstance(body, bytes) else decoded(body, request)
    assert found.finish_reason.unified == "stop"
    return request, [(warning.code, warning.parameter) for warning in request.warnings]


def test_the_first_choice_is_found_wherever_it_stands_in_a_chunk() -> None:
    """Some servers put the pieces of all choices into one chunk, in the order in which they were made."""
    first = several(choice(1, {"content": "NO"}), choice(0, {"content": "Hi"}))
    last = several(choice(1, {}, "length"), choice(0, {}, "stop"))
    found = collected(sse(first, several(choice(1, {"content": "NO"})), last))
    assert (found.content, found.finish_reason.raw) == ("Hi", "stop")


@pytest.mark.parametrize("index", ["0", None, 0.0])
def test_the_number_of_a_choice_may_be_written_in_another_way(index: object) -> None:
    """As text, as a float, or not at all."""
    assert collected(sse(several(choice(index, {"content": "Hi"}, "stop")))).content == "Hi"


def test_usage_beside_the_choice_counts() -> None:
    """Moonshot's place for it; the usual place wins."""
    last = {**choice(0, {}, "stop"), "usage": USAGE}
    assert collected(sse(HI, several(last))).usage == Usage(3, output=1)
    other = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    assert collected(sse(HI, several(last), {"choices": [], "usage": other})).usage.input == 9


def test_an_empty_usage_takes_nothing_away() -> None:
    """It comes behind the real one at some gateways."""
    assert collected(sse({**HI, "usage": USAGE}, {**STOP, "usage": {}})).usage == Usage(3, output=1)


@pytest.mark.parametrize(
    ("raw", "unified"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("max_output_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("COMPLETE", "stop"),
        ("safety", "content_filter"),
        ("content_filter: PROHIBITED_CONTENT", "content_filter"),
        ("brand_new", "other"),
    ],
)
def test_words_of_other_formats_in_the_place_of_a_finish_reason(raw: str, unified: str) -> None:
    """Gateways hand them through; the provider's own word is kept."""
    for found in (collected(sse(HI, chunk(finish=raw))), decoded(answer(finish=raw))):
        assert (found.finish_reason.unified, found.finish_reason.raw) == (unified, raw)


def test_a_call_that_the_model_got_wrong_is_no_empty_answer() -> None:
    """Google's endpoint in the OpenAI format says it in the place of a finish reason."""
    raw = "function_call_filter: MALFORMED_FUNCTION_CALL"
    error = refused(sse(chunk({"role": "assistant"}), chunk(finish=raw)))
    assert (error.type, error.retryable) == ("protocol", True)
    assert collected(sse(HI, chunk(finish=raw))).finish_reason.unified == "other"


def test_an_error_beside_a_streamed_choice_is_told() -> None:
    """OpenRouter's place for the failures of whoever it asked."""
    last = {**choice(0, {"content": ""}, "error"), "error": {"code": 429, "message": "slow down upstream"}}
    error = refused(sse(HI, several(last)))
    assert (error.type, error.billing) == ("rate_limit", "estimated")
    assert "slow down upstream" in error.message


def test_an_error_in_a_stream_keeps_the_id_of_the_request() -> None:
    """It stands in the headers, and the provider's support asks for it."""
    headers = {"x-request-id": "req-7"}
    for body in (sse(HI, {"error": {"message": "boom"}}), sse(HI, b"event: error\ndata: it broke\n\n")):
        assert refused(body, headers=headers).request_id == "req-7"


def test_an_error_without_the_word_error_is_told_of_a_whole_answer_too() -> None:
    """As it is in a stream: a body without choices that has something to say."""
    for body in ({"code": "invalid_api_key", "message": "bad key"}, {"choices": None, "detail": "no such thing"}):
        with pytest.raises(ProviderError) as caught:
            decoded(body)
        assert caught.value.code != "schema"
    with pytest.raises(ProviderError, match="no choices"):
        decoded({"id": "x"})


@pytest.mark.parametrize(
    "message",
    [
        {"content": "Hi", "audio": {"id": "a", "data": "AAA=", "transcript": "Hi"}},
        {"content": "Hi", "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "https://x"}}]},
    ],
)
def test_what_an_answer_holds_beyond_text_is_reported(message: dict[str, Any]) -> None:
    """Sound and pictures have no form here: that they were there is said, whatever the policy for parameters."""
    for body in (sse(chunk(message), chunk(message), STOP), answer(message)):
        request, said = warned(body)
        assert said == [("dropped", "response")]
        assert request.warnings[0].message


def test_the_last_event_needs_no_blank_line() -> None:
    """A body may end right behind it: a JSON object tells by itself that it is whole."""
    ends = [to_json(chunk({"content": "!"}, "stop")), to_json(chunk({"content": "!"}, "stop")) + b"\n"]
    for end in ends:
        assert collected(sse(HI, done=False) + b"data: " + end).content == "Hi!"
    late = b"data: " + to_json({"choices": [], "usage": USAGE})
    assert collected(sse(HI, STOP, done=False) + late).usage == Usage(3, output=1)
    error = refused(sse(HI, done=False) + b'data: {"error": {"message": "slow down", "code": 429}}')
    assert error.type == "rate_limit"
    cut = to_json(chunk({"content": "!"}, "stop"))[:-1]
    assert refused(sse(HI, done=False) + b"data: " + cut).code == "truncated"


@pytest.mark.parametrize("mark", [b"data:[DONE]\n\n", b"data:  [DONE] \n\n", b"data: [done]\n\n", b"data: [DONE]"])
def test_the_mark_of_the_end_in_other_spellings(mark: bytes) -> None:
    """With more or less white space, in small letters."""
    assert collected(sse(HI, STOP, done=False) + mark).content == "Hi"
    assert collected(sse(HI, done=False) + mark).content == "Hi"
