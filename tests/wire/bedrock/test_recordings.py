"""What the real service sent is read as AWS's own SDK read it."""

import json

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts
from core.llm.dialects.aws_event_stream import EventStreamSplitter
from core.llm.providers.bedrock.catalogue import models_from_bedrock
from core.llm.providers.bedrock.config import BedrockConfig
from core.llm.providers.bedrock.converse import ConverseDialect
from core.llm.providers.bedrock.embeddings import decode_embeddings, family_of
from core.llm.providers.bedrock.errors import error_from_http
from tests.wire.recorded import FOLDER, RecordedExchange, assert_framed, params


class Recording(RecordedExchange):
    """One exchange."""

    @property
    def dialect(self) -> ConverseDialect:
        return ConverseDialect(BedrockConfig())


ALL = [Recording(path) for path in sorted((FOLDER / "bedrock").glob("*.json"))]
CONVERSE = [one for one in ALL if ".converse." in one.id and one.status == 200]
STREAMS = [one for one in CONVERSE if one.is_stream]
ERRORS = [one for one in ALL if one.status >= 300]
EMBEDDINGS = [one for one in ALL if ".embeddings." in one.id]
# Chat by InvokeModel is each model's own format, which this provider does not speak; its frames are read all the same.
FOREIGN_STREAMS = [one for one in ALL if ".invoke." in one.id and one.is_stream and one.status == 200]


def test_every_recording_is_used_or_named():
    """Chat by InvokeModel without a stream is the only kind that nothing here reads."""
    used = {one.id for one in (*CONVERSE, *ERRORS, *EMBEDDINGS, *FOREIGN_STREAMS)}
    rest = {one.id for one in ALL} - used
    assert {name.split(".")[1] for name in rest} == {"invoke", "count_tokens", "models"}
    assert len(CONVERSE) == 39


@pytest.mark.parametrize("recording", params(CONVERSE))
def test_an_answer_is_read_as_the_sdk_read_it(recording):
    """Text, thinking, calls with their ids, the reason to stop, and buckets that add up to the service's total."""
    response, expected = recording.response(), recording.expected
    assert response.content == (expected["text"] or "")
    assert response.thinking == (expected.get("thinking_text") or "")
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in response.tool_calls]
    assert calls == expected["tool_calls"]
    assert [call.id for call in response.tool_calls] == expected["tool_call_ids"]
    assert response.finish_reason.raw == expected["finish_reason_raw"]
    usage, wanted = response.usage, expected["usage"]
    assert (usage.input, usage.output) == (wanted["input"], wanted["output"])
    assert (usage.cache_read, usage.cache_write) == (wanted["cached"] or 0, wanted["cache_write"] or 0)
    assert usage.total == wanted["total"]
    assert not usage.estimated


@pytest.mark.parametrize("recording", params(STREAMS))
def test_a_stream_is_the_same_at_every_byte_boundary(recording):
    """Cut once at each byte, and into single bytes."""
    whole, body = recording.events(recording.body), recording.body
    assert_framed(whole)
    step = max(1, len(body) // 400)
    for cut in [*range(64), *range(64, len(body), step), *range(len(body) - 64, len(body))]:
        assert recording.events(body[:cut], body[cut:]) == whole
    assert recording.events(*(body[at : at + 1] for at in range(len(body)))) == whole


@pytest.mark.parametrize("recording", params(STREAMS))
def test_a_stream_that_is_cut_is_never_an_answer(recording):
    """Wherever before the reason to stop it ends."""
    stop = recording.body.rindex(b"messageStop") - 40
    for cut in range(1, stop, max(1, stop // 60)):
        with pytest.raises(ProviderError) as caught:
            recording.events(recording.body[:cut])
        assert caught.value.code == "truncated"


def test_two_encrypted_thoughts_stay_two():
    """They must go back as they came."""
    [recording] = [one for one in STREAMS if one.id.endswith("489d2049")]
    parts = [part for part in recording.response().parts if part.type == "thinking"]
    assert [bool(part.redacted) for part in parts] == [True, True]
    assert parts[0].redacted != parts[1].redacted


TYPES = {
    "bedrock.converse.error.4faced16": "invalid_request",
    "bedrock.converse.error.d3c8aa2f": "invalid_request",
    "bedrock.converse.error.e25dc23f": "context_length",
    "bedrock.converse.error.ed51dd30": "authentication",
    "bedrock.converse.error.f3819b5c": "invalid_request",
    "bedrock.count_tokens.error.060b2380": "model_not_found",
    "bedrock.count_tokens.error.33da2dac": "invalid_request",
    "bedrock.invoke.error.4022464a": "authentication",
    "bedrock.invoke.error.40e2f0fb": "model_not_found",
    "bedrock.invoke.error.5c9cdffd": "invalid_request",
    "bedrock.invoke.error.bda26915": "permission",
    "bedrock.invoke.error.e4d7fe86": "context_length",
    "bedrock.invoke.error.f55cbdad": "context_length",
}
"""What each recorded refusal means to a caller."""


@pytest.mark.parametrize("recording", params(ERRORS))
def test_an_error_is_classified_and_keeps_aws_own_name(recording):
    """Some recordings have lost their headers: the message alone then has to do."""
    error = error_from_http(recording.status, recording.headers, recording.body)
    wanted = recording.expected["error"]
    assert error.type == TYPES[recording.id]
    assert not error.retryable
    assert wanted["message"][:100].rstrip(". ") in error.message
    if "x-amzn-errortype" in recording.headers:
        assert error.code == recording.headers["x-amzn-errortype"].partition(":")[0]
        assert error.request_id == recording.headers["x-amzn-requestid"]


@pytest.mark.parametrize("recording", params(EMBEDDINGS))
def test_vectors_are_read_in_order(recording):
    """Titan, Cohere, Nova: three shapes."""
    family = family_of(recording.model, ModelFacts())
    count = recording.expected["embeddings_shape"][0]
    if family == "nova":
        # Its vector was cut to two numbers together with its list: the shape of the recording is that of one text.
        count = len(json.loads(recording.body)["embeddings"])
    batch = decode_embeddings(family, count, recording.headers, recording.body)
    vectors, usage = batch.vectors, batch.usage
    assert len(vectors) == count
    if (wanted := recording.expected["usage"]["input"]) is not None:
        assert usage.input == wanted
    head = recording.expected.get("embedding_head")
    if head and family != "nova":
        assert list(vectors[0][: len(head)]) == pytest.approx(head)


@pytest.mark.parametrize("recording", params(FOREIGN_STREAMS))
def test_frames_of_other_formats_are_whole(recording):
    """InvokeModel streams have the same framing: every byte of them is accounted for."""
    splitter = EventStreamSplitter()
    frames = list(splitter.feed(recording.body))
    assert {frame.word(":event-type") for frame in frames} == {"chunk"}
    assert splitter.rest == b""
    told = recording.missing.removeprefix("botocore decodes ").partition(" ")[0]
    assert not told.isdigit() or len(frames) == int(told)


def test_models_and_counts_are_read():
    """The whole list of a region."""
    [listed] = [one for one in ALL if one.id.startswith("bedrock.models")]
    models = models_from_bedrock(listed.headers, listed.body)
    assert len(models) == listed.expected["models_count"]
    assert [name for name, _, _ in models[:10]] == listed.expected["model_ids"]
    assert all("chat" in facts.capabilities for name, facts, _ in models if name.startswith("anthropic."))
