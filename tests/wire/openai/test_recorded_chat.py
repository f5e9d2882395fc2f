"""What real servers sent is read as the vendor's own SDK read it, and where we read more, the table says why."""

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Usage
from tests.wire.openai.recordings import Recording, recordings
from tests.wire.recorded import assert_cuts_change_nothing, assert_framed, assert_no_answer_before, calls_of, params

CHAT = list(recordings("openai.chat"))
ANSWERS = [one for one in CHAT if not one.expected.get("error")]
ERRORS = [one for one in CHAT if one.expected.get("error")]
STREAMS = [one for one in CHAT if one.is_stream and one.status == 200]

HIDDEN_PROMPT = "Grok on Azure counts more cached tokens than prompt tokens: the dearer reading is used, with a warning"
UNNAMED_THINKING = "Gemini counts its thinking in the total only: what is missing is reasoning"
UNNAMED_AUDIO = "Mistral counts sound in the total only: what is missing is input"
OTHER_FIELD = "the cached tokens stand in `num_cached_tokens`, which the SDK does not read"

DEVIATIONS: dict[str, tuple[str, dict[str, int]]] = {
    "azure.openai.chat.cache_usage.7929796c": (HIDDEN_PROMPT, {"input": 29, "cached": 0}),
    "azure.openai.chat.cache_usage_stream.a68a3229": (HIDDEN_PROMPT, {"input": 7, "cached": 0}),
    "azure.openai.chat.structured.174c1304": (HIDDEN_PROMPT, {"input": 84, "cached": 0}),
    "azure.openai.chat.structured.c22f8c0a": (HIDDEN_PROMPT, {"input": 84, "cached": 0}),
    "openai_compatible-gemini.openai.chat.chat.3686ad75": (UNNAMED_THINKING, {"reasoning": 28}),
    "openai_compatible-gemini.openai.chat.tools.f3c44b81": (UNNAMED_THINKING, {"reasoning": 62}),
    "openai_compatible-mistral.openai.chat.audio_input.92785fee": (UNNAMED_AUDIO, {"input": 384}),
    "openai_compatible-mistral.openai.chat.chat.143e78bc": (OTHER_FIELD, {"cached": 976}),
}
"""By recording: why we read another number than the SDK, and which."""


@pytest.mark.parametrize("recording", params(ANSWERS))
def test_an_answer_says_what_the_sdk_read(recording: Recording) -> None:
    """Text, thinking, tool calls, refusal, finish reason and model."""
    expected, response = recording.expected, recording.response()
    assert response.content == (expected["text"] or "")
    assert response.thinking == (expected.get("thinking_text") or "")
    assert calls_of(response) == expected["tool_calls"]
    for known, read_id in zip(expected["tool_call_ids"], [call.id for call in response.tool_calls], strict=True):
        assert read_id == known if known else read_id.startswith("call_")
    assert response.refusal == expected.get("refusal")
    assert response.finish_reason.raw == expected["finish_reason_raw"]
    assert response.finish_reason.unified != "other"
    assert response.model == expected["model"]


@pytest.mark.parametrize("recording", params(ANSWERS))
def test_every_token_is_in_one_bucket(recording: Recording) -> None:
    """Buckets do not overlap and add up to the total that the provider names."""
    wanted, usage = recording.expected["usage"], recording.response().usage
    if wanted is None:
        assert usage == Usage(estimated=True)
        return
    told = {name: wanted.get(name) or 0 for name in ("input", "cached", "reasoning", "total")}
    told.update(DEVIATIONS.get(recording.id, ("", {}))[1])
    assert usage.input_total == told["input"]
    assert usage.cache_read == told["cached"]
    assert usage.reasoning == told["reasoning"]
    assert usage.total == told["total"]
    assert min(usage.input, usage.output) >= 0
    assert not usage.estimated


@pytest.mark.parametrize("recording", params(STREAMS))
def test_a_stream_is_the_same_wherever_the_network_cuts_it(recording: Recording) -> None:
    """However it comes, it says the same."""
    assert_cuts_change_nothing(recording)


@pytest.mark.parametrize("recording", params(one for one in STREAMS if not one.expected.get("error")))
def test_a_stream_starts_once_finishes_once_and_never_ends_early(recording: Recording) -> None:
    """`StreamStart` first, `StreamFinish` last; every proper prefix without a terminal marker is an error."""
    assert_framed(recording.events(recording.body))
    assert_no_answer_before(recording, recording.body.index(b'"finish_reason":"'))


TYPES = {
    "azure.openai.chat.error.070419d6": "server_error",
    "azure.openai.chat.error.3557befc": "timeout",
    "azure.openai.chat.error.4ef9ef44": "invalid_request",
    "azure.openai.chat.error.54c9f61f": "authentication",
    "azure.openai.chat.error.a8229cd2": "rate_limit",
    "azure.openai.chat.error.afd195ad": "model_not_found",
    "lmstudio.openai.chat.error.6408c5a6": "model_not_found",
    "ollama.openai.chat.error.0d756254": "context_length",
    "ollama.openai.chat.error.333755f5": "authentication",
    "ollama.openai.chat.error.524a9233": "invalid_request",
    "ollama.openai.chat.error.8b899f59": "model_not_found",
    "openai.chat.error.03d7065b": "authentication",
    "openai.chat.error.051b3600": "authentication",
    "openai.chat.error.2b72c722": "model_not_found",
    "openai.chat.error.5ced8748": "invalid_request",
    "openai.chat.error.615bc4e8": "invalid_request",
    "openai.chat.error.6c6d4f97": "authentication",
    "openai.chat.error.733a1995": "invalid_request",
    "openai.chat.error.76267ff5": "model_not_found",
    "openai.chat.error.91fd095c": "invalid_request",
    "openai.chat.error.bf4f1499": "authentication",
    "openai.chat.error.ed57bbcf": "rate_limit",
    "openai_compatible-deepseek.openai.chat.error.b27cfd6e": "context_length",
    "openai_compatible-deepseek.openai.chat.error.f44fac5a": "authentication",
    "openai_compatible-groq.openai.chat.error.4c63bb9d": "invalid_request",
    "openai_compatible-groq.openai.chat.error.f3b8544c": "model_not_found",
    "openai_compatible-groq.openai.chat.error_in_stream.2a3fef09": "invalid_request",
    "openai_compatible-mistral.openai.chat.error.0a51b345": "authentication",
    "openai_compatible-mistral.openai.chat.error.32866e5b": "server_error",
    "openai_compatible-mistral.openai.chat.error.463568f9": "invalid_request",
    "openai_compatible-mistral.openai.chat.error.cabce879": "rate_limit",
    "openai_compatible-openrouter.openai.chat.error.30441261": "rate_limit",
    "openai_compatible-openrouter.openai.chat.error.eca0d1ce": "context_length",
    "openai_compatible-openrouter.openai.chat.error.ef33dfe0": "authentication",
    "openai_compatible-openrouter.openai.chat.error_in_stream.e15f1e62": "invalid_request",
    "openai_compatible-perplexity.openai.chat.error.56b312da": "authentication",
    "openai_compatible-perplexity.openai.chat.error.f0157a77": "invalid_request",
    "openai_compatible-xai.openai.chat.error.97302fe5": "overloaded",
    "openai_compatible-xai.openai.chat.error.fd67e1fc": "authentication",
}
"""What each recorded refusal means to a caller."""


@pytest.mark.parametrize("recording", params(ERRORS))
def test_an_error_is_classified_and_keeps_the_providers_code(recording: Recording) -> None:
    """Also those that come inside a stream whose status was 200."""
    error = recording.failure()
    assert error.type == TYPES[recording.id]
    wanted = recording.expected["error"]
    if wanted["code"]:
        assert error.code == wanted["code"]
    head = wanted["message"].split(":")[0].split("\n")[0].split("Your api key")[0].rstrip(". ")
    assert head in error.message
    assert error.retryable == (
        error.type in {"server_error", "timeout", "overloaded", "rate_limit"} and error.scope != "request"
    )


def test_what_came_before_an_error_is_delivered() -> None:
    """The text that shares its bytes with an error event still reaches the caller."""
    recording = next(one for one in ERRORS if one.id.endswith("error_in_stream.2a3fef09"))
    decoder = recording.dialect.decoder(recording.request(), recording.headers)
    events = decoder.feed(recording.body)
    assert "".join(event.text for event in events).endswith("maybe")
    assert decoder.done
    with pytest.raises(ProviderError) as caught:
        decoder.end()
    assert caught.value.billing == "estimated"


def test_every_deviation_is_still_needed() -> None:
    """The table above names recordings that exist."""
    assert DEVIATIONS.keys() <= {one.id for one in ANSWERS}
    assert TYPES.keys() == {one.id for one in ERRORS}
