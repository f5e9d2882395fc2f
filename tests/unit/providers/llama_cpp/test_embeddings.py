"""Vectors of the real model: the same in a batch as alone, in order, finite."""

import asyncio
import math

import pytest

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.providers.llama_cpp.engine import LlamaEngine, _cosine
from tests.unit.providers.llama_cpp.conftest import chat, texts

pytestmark = pytest.mark.leakcheck


@pytest.mark.parametrize("slots", [1, 2, 4])
async def test_vectors_of_a_batch_equal_those_of_single_calls(make_provider, slots):
    """llama.cpp gets this wrong with several slots unless they share their memory (trap 1)."""
    provider = await make_provider({"tiny": {"path": "embedded", "n_parallel": slots}})
    inputs = ["a", "What is dependency injection?", "a much longer text " * 10, "b", "?"]
    together = (await provider.embed(texts(*inputs))).vectors
    alone = [(await provider.embed(texts(text))).vectors[0] for text in inputs]
    for left, right in zip(together, alone, strict=True):
        assert _cosine(list(left), list(right)) > 0.9999


async def test_a_build_that_mixes_up_batches_is_noticed_and_asked_one_by_one():
    """The first batch is preceded by a probe; the answer looks as if it had come from one call."""

    class Broken:
        calls = 0

        def handle_embeddings(self, body):
            self.calls += 1
            inputs = body["input"]
            shift = 0.0 if len(inputs) == 1 else 1.0
            data = [{"embedding": [1.0, len(text) + shift * 9], "index": i} for i, text in enumerate(inputs)]
            return {"data": data, "usage": {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}}

    class Job:
        cancelled = False

    engine = LlamaEngine()
    engine._server = Broken()
    answer = engine.embed({"body": '{"input": ["aa", "b", ""]}'}, Job())
    import json

    body = json.loads(answer["body"])
    assert [entry["embedding"] for entry in body["data"]] == [[1.0, 2], [1.0, 1], [1.0, 0]]
    assert [entry["index"] for entry in body["data"]] == [0, 1, 2]
    assert body["usage"]["prompt_tokens"] == 3


async def test_long_lists_come_back_in_order(provider):
    """They travel in several calls, while chat goes on."""
    inputs = [f"text number {number}" for number in range(70)]
    response, answer = await asyncio.gather(provider.embed(texts(*inputs)), provider.generate(chat("hello")))
    assert len(response) == 70
    assert response.dimensions == 192
    assert response.usage.input > 70
    assert answer.content
    single = (await provider.embed(texts(inputs[64]))).vectors[0]
    assert _cosine(list(response.vectors[64]), list(single)) > 0.9999
    assert all(math.isfinite(value) for vector in response.vectors for value in vector)


@pytest.mark.parametrize(("text", "kind"), [("", "invalid_request"), ("word " * 3000, "context_length")])
async def test_a_text_that_cannot_be_embedded_is_refused(provider, text, kind):
    """Empty, or longer than the model can take; never a made-up vector."""
    with pytest.raises(ProviderError) as caught:
        await provider.embed(texts("fine", text))
    assert caught.value.type == kind
    assert len(await provider.embed(texts("fine"))) == 1


async def test_what_the_engine_cannot_do_is_said_beforehand(make_provider):
    """Shorter vectors, and vectors of a model that was loaded without them."""
    provider = await make_provider({"tiny": {"path": "embedded", "embeddings": False}})
    with pytest.raises(UnsupportedFeature, match="embeddings: true"):
        await provider.embed(texts("a"))
    with pytest.raises(UnsupportedFeature, match="dimensions"):
        await provider.embed(texts("a", dimensions=8))
    assert "embeddings" not in provider.facts("tiny").capabilities
    assert (await provider.generate(chat("hello"))).content
