"""Vectors through InvokeModel: Titan, Cohere and Nova, each in its own shape."""

import json

import pytest

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.testing.bedrock_frames import bedrock_error
from core.llm.testing.bedrock_server import BedrockAnswer
from tests.wire.bedrock.support import KEY, texts

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-multilingual-v3"


@pytest.fixture
async def provider(make):
    return await make(api_key=KEY, embedding_concurrency=2)


def titan(vector, tokens=3) -> BedrockAnswer:
    return BedrockAnswer(json.dumps({"embedding": vector, "inputTextTokenCount": tokens}).encode())


async def test_titan_takes_one_text_at_a_time(server, provider):
    """Several requests, one list in order, all tokens counted."""
    server.will(*(titan([float(n), 0.5], 3) for n in range(5)))
    response = await provider.embed(
        texts(provider, TITAN, "a", "b", "c", "d", "e", dimensions=2, extra={"normalize": True})
    )
    sent = {json.dumps(request.body): number for number, request in enumerate(server.requests)}
    by_arrival = {request.body["inputText"]: float(number) for number, request in enumerate(server.requests)}
    assert [vector[0] for vector in response.vectors] == [by_arrival[text] for text in "abcde"]
    assert all('"dimensions": 2, "normalize": true' in body for body in sent)
    assert (response.usage.input, response.usage.estimated) == (15, False)
    assert {request.model for request in server.requests} == {TITAN}


async def test_cohere_takes_many(server, make):
    """Up to 96 in one request; the tokens stand in a header."""
    answers = [[[float(n)] for n in range(96)], [[96.0], [97.0]]]
    headers = {"x-amzn-bedrock-input-token-count": "50"}
    server.will(BedrockAnswer(json.dumps({"embeddings": answers[0]}).encode(), headers=headers))
    server.will(BedrockAnswer(json.dumps({"embeddings": {"float": answers[1]}}).encode(), headers=headers))
    provider = await make(api_key=KEY, embedding_concurrency=1)
    request = texts(provider, COHERE, *map(str, range(98)), extra={"input_type": "search_query"}, user="u")
    response = await provider.embed(request)
    assert [vector[0] for vector in response.vectors] == [float(n) for n in range(98)]
    assert [len(request.body["texts"]) for request in server.requests] == [96, 2]
    assert server.requests[0].body["input_type"] == "search_query"
    assert response.usage.input == 100
    assert [warning.parameter for warning in response.warnings] == ["user"]


async def test_nova_has_a_shape_of_its_own(server, provider):
    """With the length of the vector inside."""
    server.will(BedrockAnswer(b'{"embeddings": [{"embeddingType": "TEXT", "embedding": [1, 2]}]}'))
    response = await provider.embed(texts(provider, "amazon.nova-2-multimodal-embeddings-v1:0", "a", dimensions=2))
    assert response.vectors == ((1.0, 2.0),)
    assert server.requests[-1].body["singleEmbeddingParams"]["embeddingDimension"] == 2
    assert response.usage.estimated


async def test_one_failure_fails_the_call(server, provider):
    """Classified as any other, and nothing is left behind."""
    server.will(titan([1.0]), BedrockAnswer(bedrock_error("slow down"), status=429, error="ThrottlingException"))
    with pytest.raises(ProviderError) as caught:
        await provider.embed(texts(provider, TITAN, "a", "b", "c", "d"))
    assert (caught.value.type, caught.value.model) == ("rate_limit", TITAN)


@pytest.mark.parametrize(
    "body",
    [b'{"embedding": []}', b'{"embedding": [1, "x"]}', b"{}", b'{"embedding": [1e999]}', b"<html>", b""],
)
async def test_vectors_that_are_none_are_a_protocol_error(server, provider, body):
    """Never a list with holes."""
    server.will(BedrockAnswer(body))
    with pytest.raises(ProviderError) as caught:
        await provider.embed(texts(provider, TITAN, "a"))
    assert caught.value.type == "protocol"


async def test_vectors_of_different_lengths_are_refused(server, provider):
    """From one request to the next, and against what was asked for."""
    server.will(titan([1.0]), titan([1.0, 2.0]), titan([1.0]))
    with pytest.raises(ProviderError, match="differ in length"):
        await provider.embed(texts(provider, TITAN, "a", "b"))
    with pytest.raises(ProviderError, match="1 dimensions instead of 256"):
        await provider.embed(texts(provider, TITAN, "a", dimensions=256))


async def test_what_a_model_cannot_do_is_said_before(server, provider):
    """A chat model, and a length where there is no choice."""
    for request in (texts(provider, "meta.llama3-8b-instruct-v1:0", "a"), texts(provider, COHERE, "a", dimensions=64)):
        with pytest.raises(UnsupportedFeature):
            await provider.embed(request)
    assert server.requests == []
