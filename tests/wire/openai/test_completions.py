"""The older endpoint of the OpenAI format: prompts out, recorded answers in."""

import json

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.dialects.openai_completions import OpenAICompletionsDialect
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.prompt_format import PromptFormat
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector
from core.llm.providers.openai_compatible.config import OpenAICompatibleConfig
from core.llm.providers.openai_compatible.provider import OpenAICompatibleProvider
from core.llm.testing import provider_services
from tests.wire.openai.recordings import Recording, recordings
from tests.wire.recorded import params

ALL = list(recordings("openai.completions"))
ANSWERS = [one for one in ALL if not one.expected.get("error")]
ERRORS = [one for one in ALL if one.expected.get("error")]
STREAMS = [one for one in ANSWERS if one.is_stream]
FORMAT = PromptFormat(user="User: {text}\n", assistant="Assistant: {text}\n", suffix="Assistant:", stop=("\nUser:",))
DIALECT = OpenAICompletionsDialect(OpenAIQuirks(), FORMAT)


def asked(*, stream: bool = False, **options: object) -> ChatRequest:
    """A request as a provider is handed it."""
    request = LLMRequest(**{"messages": "hello", **options})
    return ChatRequest("p", "m", request, request.messages, ModelFacts(), PhaseLimits(), stream=stream)


def streamed(*pieces: bytes) -> LLMResponse:
    """The answer that arrives in *pieces*."""
    decoder = DIALECT.decoder(asked(stream=True), {"content-type": "text/event-stream"})
    collector = ResponseCollector()
    for event in [*(event for piece in pieces for event in decoder.feed(piece)), *decoder.end()]:
        collector.add(event)
    return collector.response()


def read(recording: Recording) -> LLMResponse:
    """The answer of a recording."""
    if recording.is_stream:
        return streamed(recording.body)
    return DIALECT.decode(asked(), recording.status, recording.headers, recording.body)


@pytest.mark.parametrize("recording", params(ANSWERS))
def test_an_answer_says_what_the_sdk_read(recording: Recording) -> None:
    """Text, finish reason, model, and buckets that sum to the total."""
    expected, response = recording.expected, read(recording)
    assert response.content == expected["text"]
    assert response.finish_reason.raw == expected["finish_reason_raw"]
    assert response.model == expected["model"]
    if usage := expected.get("usage"):
        assert (response.usage.input_total, response.usage.output_total) == (usage["input"], usage["output"])
        assert response.usage.total == usage["total"]
    else:
        assert response.usage.total == 0


@pytest.mark.parametrize("recording", params(STREAMS))
def test_a_stream_is_read_alike_at_every_cut(recording: Recording) -> None:
    """Two pieces, cut anywhere."""
    body = recording.body
    for cut in range(0, len(body), max(1, len(body) // 400)):
        assert streamed(body[:cut], body[cut:]).content == recording.expected["text"]


@pytest.mark.parametrize("recording", params(STREAMS))
def test_a_stream_that_ends_early_is_an_error(recording: Recording) -> None:
    """Before its finish reason."""
    with pytest.raises(ProviderError) as caught:
        streamed(recording.body[: len(recording.body) // 2])
    assert (caught.value.type, caught.value.billing) == ("protocol", "estimated")


@pytest.mark.parametrize("place", ["chunk", "choice"])
def test_a_failure_in_the_middle_says_what_it_was(place: str) -> None:
    """Beside a last piece of text, as gateways put it there."""
    error = {"error": {"message": "the upstream is at capacity", "code": 503}}
    choice = {"text": "", "index": 0, "finish_reason": "error", **(error if place == "choice" else {})}
    chunk = {"choices": [choice], **(error if place == "chunk" else {})}
    first = b'data: {"choices":[{"text":"one","index":0}]}\n\n'
    with pytest.raises(ProviderError, match="at capacity") as caught:
        streamed(first, b"data: " + json.dumps(chunk).encode() + b"\n\n")
    assert (caught.value.type, caught.value.billing) == ("overloaded", "estimated")


@pytest.mark.parametrize("recording", params(ERRORS))
def test_an_error_is_classified(recording: Recording) -> None:
    """As on the chat endpoint."""
    error = DIALECT.error(recording.status, recording.headers, recording.body)
    assert error.type == {401: "authentication", 400: "invalid_request"}[recording.status]


def test_the_recordings_are_all_there() -> None:
    """Whole and streamed, from four servers."""
    assert (len(ANSWERS), len(ERRORS), len(STREAMS)) == (14, 3, 4)


def test_a_request_is_one_prompt() -> None:
    """With the parameters of a chat and the marks that end an answer."""
    call = DIALECT.encode(asked(stream=True, max_tokens=9, temperature=0.5, stop="END", seed=4))
    assert call.path == "/completions"
    assert json.loads(call.body) == {
        "model": "m",
        "prompt": "User: hello\nAssistant:",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 4,
        "stop": ["END", "\nUser:"],
    }


def test_a_schema_is_described_and_that_is_said() -> None:
    """A plain prompt has no JSON mode."""
    request = asked(response_format={"type": "object", "properties": {"a": {"type": "string"}}})
    body = json.loads(DIALECT.encode(request).body)
    assert body["prompt"].startswith("Answer with one JSON object")
    assert '"a"' in body["prompt"]
    assert [(one.code, one.parameter) for one in request.warnings] == [("emulated", "response_format")]


def test_a_list_is_not_asked_for_as_an_object() -> None:
    """The words would contradict the schema behind them."""
    body = json.loads(DIALECT.encode(asked(response_format={"type": "array", "items": {"type": "string"}})).body)
    assert body["prompt"].startswith("Answer with one JSON value and nothing else. It must fit")


def test_an_answer_without_text_is_no_answer() -> None:
    """Such as that of a chat endpoint."""
    with pytest.raises(ProviderError, match="no text"):
        DIALECT.decode(asked(), 200, {}, b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}')


def test_a_server_answers_whole_where_a_stream_was_asked_for() -> None:
    """Some do; it is read all the same."""
    assert streamed(b'{"choices":[{"text":"whole","index":0,"finish_reason":"stop"}]}').content == "whole"


def test_the_setting_of_a_compatible_server_selects_the_endpoint() -> None:
    """By name, and never together with another endpoint."""
    config = OpenAICompatibleConfig(type="openai_compatible", base_url="http://127.0.0.1:1/v1", prompt_format="llama3")
    provider = OpenAICompatibleProvider(config, provider_services("old"))
    call = provider.dialect.encode(asked())
    assert (call.path, b"<|eot_id|>" in call.body) == ("/completions", True)
    with pytest.raises(ValueError, match="leave `api` out"):
        OpenAICompatibleConfig(base_url="http://127.0.0.1:1/v1", prompt_format="plain", api="responses")
