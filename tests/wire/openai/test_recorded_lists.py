"""Recorded embeddings and model lists, and the errors of both endpoints."""

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.openai_embeddings import decode_embeddings
from core.llm.dialects.openai_models import models_from_openai
from tests.wire.openai.recordings import Recording, recordings
from tests.wire.recorded import params

EMBEDDINGS = list(recordings("openai.embeddings"))
MODELS = list(recordings("openai.models"))
INT8 = "openai_compatible-perplexity.openai.embeddings.embeddings.34f533ce"
"""Its vector is packed as one signed byte per number; the SDK read it as floats of four bytes and got garbage."""


@pytest.mark.parametrize("recording", params(one for one in EMBEDDINGS if one.status == 200))
def test_vectors_have_the_shape_and_numbers_the_sdk_read(recording: Recording) -> None:
    """In order, one for each text."""
    count, dimensions = recording.expected["embeddings_shape"]
    batch = decode_embeddings(count, recording.quirks, recording.headers, recording.body)
    assert len(batch.vectors) == count
    assert batch.usage.input == (recording.expected["usage"] or {}).get("input", 0)
    if recording.id == INT8:
        assert {len(vector) for vector in batch.vectors} == {4 * dimensions}
        assert all(-128 <= number <= 127 for number in batch.vectors[0])
        return
    assert {len(vector) for vector in batch.vectors} == {dimensions}
    for number, wanted in zip(batch.vectors[0], recording.expected["embedding_head"], strict=False):
        assert round(number, 6) == wanted


@pytest.mark.parametrize("recording", params(one for one in MODELS if one.status == 200))
def test_model_lists_name_every_model(recording: Recording) -> None:
    """As many as the SDK read, in the same order."""
    models = models_from_openai(recording.headers, recording.body)
    assert len(models) == recording.expected["models_count"]
    assert [model.name for model in models][:10] == recording.expected["model_ids"]


@pytest.mark.parametrize("recording", params(one for one in EMBEDDINGS + MODELS if one.status != 200))
def test_refusals_are_classified(recording: Recording) -> None:
    """By status and code."""
    error = recording.dialect.error(recording.status, recording.headers, recording.body)
    assert error.type == {401: "authentication", 404: "model_not_found"}[recording.status]
    assert not error.retryable


def test_bytes_read_as_floats_are_refused_rather_than_believed() -> None:
    """Without the quirk of that server its packed vector is no set of finite numbers."""
    recording = next(one for one in EMBEDDINGS if one.id == INT8)
    plain = next(one for one in EMBEDDINGS if one.provider == "openai").quirks
    with pytest.raises(ProviderError) as caught:
        decode_embeddings(1, plain, recording.headers, recording.body)
    assert (caught.value.type, caught.value.code) == ("protocol", "schema")
