"""Recorded answers of the Responses endpoint of several services are read as the vendor's own SDK read them."""

import re

import pytest

from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from core.llm.providers.base.request import ChatRequest, LLMRequest
from tests.wire.openai.recordings import Recording, recordings
from tests.wire.recorded import assert_cuts_change_nothing, assert_framed, assert_no_answer_before, calls_of, params

ALL = list(recordings("openai.responses"))
ANSWERS = [one for one in ALL if not one.expected.get("error")]
ERRORS = [one for one in ALL if one.expected.get("error")]
STREAMS = [one for one in ALL if one.is_stream and one.status == 200]

NOTHING_COUNTED = "all counts are zero although there is text: they are an estimate for somebody else to make"

DEVIATIONS: dict[str, tuple[str, dict[str, int]]] = {}
"""By recording: why we read another number than the SDK, and which."""
ESTIMATED = {"openai.responses.length_stream.2a2d6450": NOTHING_COUNTED}


def test_all_recordings_are_here() -> None:
    """Of OpenAI, Azure, LM Studio and four compatible services."""
    assert len(ALL) == 86
    assert len({recording.provider for recording in ALL}) == 7


@pytest.mark.parametrize("recording", params(ANSWERS))
def test_an_answer_says_what_the_sdk_read(recording: Recording) -> None:
    """Text, thinking, tool calls, refusal, finish reason and model."""
    expected, response = recording.expected, recording.response()
    assert response.content == (expected["text"] or "")
    assert response.thinking == (expected.get("thinking_text") or "")
    assert calls_of(response) == expected["tool_calls"]
    named = re.findall(r'"call_id": ?"([^"]+)"', recording.body.decode())
    assert {call.id for call in response.tool_calls} <= set(named)
    assert len({call.id for call in response.tool_calls}) == len(response.tool_calls)
    assert response.refusal == expected.get("refusal")
    assert response.finish_reason.raw == expected["finish_reason_raw"]
    assert response.finish_reason.unified != "other"
    assert response.model == expected["model"]


@pytest.mark.parametrize("recording", params(ANSWERS))
def test_every_token_is_in_one_bucket(recording: Recording) -> None:
    """Buckets do not overlap and add up to the total that the provider names."""
    wanted, usage = recording.expected["usage"], recording.response().usage
    told = {name: wanted.get(name) or 0 for name in ("input", "cached", "reasoning", "total")}
    told.update(DEVIATIONS.get(recording.id, ("", {}))[1])
    assert usage.input_total == told["input"]
    assert usage.cache_read == told["cached"]
    assert usage.reasoning == told["reasoning"]
    assert usage.total == told["total"]
    assert min(usage.input, usage.output) >= 0
    assert usage.estimated == (recording.id in ESTIMATED)


@pytest.mark.parametrize("recording", params(STREAMS))
def test_a_stream_is_the_same_wherever_the_network_cuts_it(recording: Recording) -> None:
    """However it comes, it says the same."""
    assert_cuts_change_nothing(recording)


@pytest.mark.parametrize("recording", params(one for one in STREAMS if not one.expected.get("error")))
def test_a_stream_starts_once_finishes_once_and_never_ends_early(recording: Recording) -> None:
    """`StreamStart` first, `StreamFinish` last; every proper prefix without the event that ends it is an error."""
    assert_framed(recording.events(recording.body))
    ends = [at for word in (b"response.completed", b"response.incomplete") if (at := recording.body.find(word)) >= 0]
    assert_no_answer_before(recording, min(ends))


TYPES = {
    "lmstudio.openai.responses.error.d494064e": "model_not_found",
    "openai.responses.error.0011c59a": "model_not_found",
    "openai.responses.error.2d893410": "invalid_request",
    "openai.responses.error.384f2ec8": "model_not_found",
    "openai.responses.error.4c75c791": "authentication",
    "openai.responses.error.f1fccd9a": "quota_exceeded",
    "openai.responses.error.f9e60e47": "authentication",
    "openai.responses.error_in_stream.dcb5e353": "quota_exceeded",
    "openai_compatible-deepseek.openai.responses.error.a4a30490": "invalid_request",
    "openai_compatible-xai.openai.responses.error.24bb50d2": "authentication",
}


@pytest.mark.parametrize("recording", params(ERRORS))
def test_an_error_is_classified_and_not_tried_again(recording: Recording) -> None:
    """By code first, then by status; none of these can be helped by asking once more."""
    error = recording.failure()
    assert error.type == TYPES[recording.id]
    assert not error.retryable
    assert recording.expected["error"]["message"][:20] in error.message


@pytest.mark.parametrize(
    "recording", params(one for one in ANSWERS if b'"encrypted_content":' in one.body.replace(b": ", b":"))
)
def test_encrypted_reasoning_goes_back_as_it_came(recording: Recording) -> None:
    """Id, encrypted text and summary of every reasoning item that led to something."""
    answer = recording.response().message
    conversation = LLMRequest(messages=[{"role": "user", "content": "u"}, answer, {"role": "user", "content": "more"}])
    for part in answer.parts:
        if part.type == "thinking":
            object.__setattr__(part, "provider", recording.provider)
    again = ChatRequest(
        recording.provider, recording.model, conversation, conversation.messages, ModelFacts(), PhaseLimits()
    )
    call = OpenAIResponsesDialect(OpenAIQuirks(encrypted_reasoning=True)).encode(again)
    assert isinstance(call.body, bytes)
    sent = call.body.decode()
    for part in answer.parts:
        if part.type == "thinking" and part.redacted is not None:
            assert f'"encrypted_content":"{part.redacted}"' in sent
            assert f'"id":"{part.signature}"' in sent
