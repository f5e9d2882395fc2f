"""Plain JSON without a server: aioresponses with its shim, and the day on which the shim can go."""

import json

import aiohttp
import pytest
from aioresponses import aioresponses as mocked_responses

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Usage
from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai.provider import OpenAIProvider
from core.llm.testing import provider_services
from tests.aioresponses_shim import mocked_http
from tests.unit.testing.requests import chat, embedding

URL = "https://api.openai.com/v1"


@pytest.fixture
async def provider():
    """OpenAI at its real address, which no test reaches."""
    provider = OpenAIProvider(OpenAIConfig(type="openai", api_key="sk-test"), provider_services("openai"))
    await provider.start()
    yield provider
    await provider.close()


async def test_the_shim_is_still_needed():
    """Fails once aioresponses passes `stream_writer` itself: then delete tests/aioresponses_shim.py."""
    with mocked_responses() as mocked:
        mocked.get("http://server.invalid/", payload={})
        async with aiohttp.ClientSession() as session:
            with pytest.raises(TypeError, match="stream_writer"):
                await session.get("http://server.invalid/")


async def test_the_shim_is_undone_at_the_end():
    """The next test sees aioresponses as it is."""
    import aioresponses.core

    with mocked_http():
        assert aioresponses.core.ClientResponse is not aiohttp.ClientResponse

    assert aioresponses.core.ClientResponse is aiohttp.ClientResponse


async def test_an_answer_of_openai_becomes_a_response(provider):
    """URL, method, credential and body of the request, and text and usage of the answer."""
    answer = {
        "id": "chatcmpl-1",
        "model": "gpt-x",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }
    request = chat("Say hello", temperature=0.5)
    request.api_key = "sk-test"
    with mocked_http() as mocked:
        mocked.post(f"{URL}/chat/completions", payload=answer)
        response = await provider.generate(request)
        ((method, url),) = mocked.requests
        ((sent,),) = mocked.requests.values()

    assert (response.content, response.model, response.usage) == ("Hello", "gpt-x", Usage(input=9, output=2))
    assert (method, str(url)) == ("POST", f"{URL}/chat/completions")
    assert sent.kwargs["headers"]["authorization"] == "Bearer sk-test"
    assert json.loads(sent.kwargs["data"]) == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Say hello"}],
        "temperature": 0.5,
    }


async def test_an_error_of_openai_is_classified(provider):
    """Status, code and wait of the answer are on the error."""
    error = {"error": {"message": "Slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    with mocked_http() as mocked:
        mocked.post(f"{URL}/chat/completions", status=429, payload=error, headers={"Retry-After": "3"})
        with pytest.raises(ProviderError) as caught:
            await provider.generate(chat())

    assert (caught.value.type, caught.value.status_code, caught.value.retry_after) == ("rate_limit", 429, 3.0)


async def test_vectors_of_openai_come_in_order(provider):
    """By their index, not by their place in the answer."""
    data = [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1.0, 0.0]}]
    with mocked_http() as mocked:
        mocked.post(f"{URL}/embeddings", payload={"model": "emb", "data": data, "usage": {"prompt_tokens": 2}})
        response = await provider.embed(embedding("a", "b"))

    assert response.vectors == ((1.0, 0.0), (0.0, 1.0))


async def test_a_url_that_nobody_registered_is_refused(provider):
    """A mocked test cannot reach the vendor by accident."""
    with mocked_http(), pytest.raises(ProviderError) as caught:
        await provider.generate(chat())

    assert caught.value.type == "network_error"
