"""Recorded embeddings, model lists and token counts of both APIs."""

import pytest
from pydantic_core import from_json

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.dialects.gemini import decode_count
from core.llm.dialects.gemini_embeddings import EmbeddingMethod, decode_embeddings, encode_embeddings
from core.llm.dialects.gemini_models import models_from_gemini
from core.llm.providers.base.request import EmbeddingRequest
from tests.wire.gemini.recordings import Recording, recordings
from tests.wire.recorded import params

METHODS: dict[str, EmbeddingMethod] = {"batchEmbedContents": "batch", "predict": "predict", "embedContent": "single"}


def method_of(recording: Recording) -> EmbeddingMethod:
    """Which of the three ways a recording shows."""
    return METHODS[recording.path.rpartition(":")[2]]


@pytest.mark.parametrize("recording", params(recordings("embed", error=False)))
def test_recorded_vectors_are_read(recording: Recording) -> None:
    """As many, as long, and with the same numbers; and the tokens where they are told."""
    count, length = recording.expected["embeddings_shape"]
    batch = decode_embeddings(count, method_of(recording), recording.headers, recording.body)
    assert [len(vector) for vector in batch.vectors] == [length] * count
    assert [round(number, 6) for number in batch.vectors[0][:4]] == recording.expected["embedding_head"]
    assert batch.usage.estimated is (b"okenCount" not in recording.body and b"token_count" not in recording.body)
    with pytest.raises(ProviderError, match="vectors for"):
        decode_embeddings(count + 1, method_of(recording), recording.headers, recording.body)


@pytest.mark.parametrize("recording", params(recordings("embed", error=False)))
def test_the_recorded_request_is_what_we_send(recording: Recording) -> None:
    """The same texts in the same shape."""
    body = recording.request_body
    method = method_of(recording)
    requests = body.get("requests", [body])
    texts = tuple(
        [one["content"] for one in body["instances"]]
        if method == "predict"
        else [one["content"]["parts"][0]["text"] for one in requests]
    )
    size = body.get("parameters", requests[0]).get("outputDimensionality")
    extra = {"taskType": requests[0]["taskType"]} if "taskType" in requests[0] else {}
    asked = EmbeddingRequest(recording.provider, recording.model, texts, PhaseLimits(), dimensions=size, extra=extra)
    call = encode_embeddings(asked, texts, recording.dialect.endpoint, method)
    assert (call.path, from_json(call.body)) == (recording.path, body)


@pytest.mark.parametrize("recording", params(recordings("models")))
def test_recorded_models_are_listed(recording: Recording) -> None:
    """By the names that requests use."""
    models, page = models_from_gemini(recording.headers, recording.body)
    assert len(models) == recording.expected["models_count"]
    assert [one.name for one in models][:10] == [
        name.removeprefix("models/").removeprefix("publishers/google/models/")
        for name in recording.expected["model_ids"]
    ]
    assert (page is None) is (b"nextPageToken" not in recording.body)


def test_a_listed_model_tells_its_limits() -> None:
    """The Gemini API does; Vertex AI does not."""
    [recording] = [one for one in recordings("models") if one.provider == "gemini"]
    models = {one.name: one for one in models_from_gemini(recording.headers, recording.body)[0]}
    flash = models["gemini-2.5-flash"]
    assert (flash.context_window, flash.max_output_tokens, flash.detail) == (1048576, 65536, "Gemini 2.5 Flash")


@pytest.mark.parametrize("recording", params(recordings("count_tokens", error=False)))
def test_recorded_counts_are_read(recording: Recording) -> None:
    """The number that the SDK read."""
    assert decode_count(recording.headers, recording.body) == recording.expected["usage"]["input"]


@pytest.mark.parametrize(
    "recording", params([*recordings("embed", error=True), *recordings("count_tokens", error=True)])
)
def test_recorded_refusals_are_classified(recording: Recording) -> None:
    """Both are about a model that does not exist."""
    error = recording.dialect.error(recording.status, recording.headers, recording.body)
    assert (error.type, error.code, error.status_code) == ("model_not_found", "NOT_FOUND", 404)


@pytest.mark.parametrize("recording", params(recordings("cached_contents")))
def test_a_created_cache_is_named_in_raw_fields(recording: Recording) -> None:
    """Creating a cache is not ours; what it is called goes into `extra` as `cachedContent`."""
    assert from_json(recording.body)["name"] == recording.expected["name"]
