"""`OllamaProvider` against a server: chat, vectors, facts, the default model, pulling on demand."""

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.provider import Embedder, ModelHost, ModelPuller
from core.llm.providers.base.request import EmbeddingRequest
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.provider import OllamaProvider
from core.llm.testing import provider_services
from core.llm.testing.ollama_script import OllamaAnswer, OllamaDownload, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from tests.unit.providers.ollama.support import chat_request

LIMITS = PhaseLimits(connect=5)


async def collected(provider, request):
    return "".join([event.text async for event in provider.stream_generate(request)])


async def test_it_is_all_that_a_host_of_models_can_be(provider):
    assert isinstance(provider, ModelHost)
    assert isinstance(provider, Embedder)
    assert isinstance(provider, ModelPuller)


async def test_an_answer_whole_and_streamed(provider, server):
    response = await provider.generate(chat_request("hi"))

    assert response.content == await collected(provider, chat_request("hi", stream=True)) == "You said: hi"
    assert (response.provider, response.model) == ("ollama", "tiny")


async def test_every_call_of_a_model_sends_the_same_load_options(make, server):
    """ML-19: a chat, a preload, vectors and a stream in any order load a model once each."""
    provider = await make(
        options={"num_ctx": 2048}, keep_alive="never", models={"embedder": {"options": {"num_ctx": 8}}}
    )
    for _ in range(3):
        await provider.generate(chat_request("hi"))
        await provider.load_model("tiny")
        await collected(provider, chat_request("hi", stream=True))
        await provider.embed(EmbeddingRequest("ollama", "embedder", ("a",), LIMITS))
        await provider.load_model("embedder")

    assert [(load.model, load.options) for load in server.store.loads] == [
        ("tiny:latest", {"num_ctx": 2048}),
        ("embedder:latest", {"num_ctx": 8}),
    ]
    posts = [call for call in server.calls if call.path in {"/api/chat", "/api/generate", "/api/embed"}]
    assert {call.body.get("keep_alive") for call in posts} == {-1}


async def test_vectors(provider, server):
    reply = await provider.embed(EmbeddingRequest("ollama", "embedder", ("a", "b"), LIMITS, dimensions=3, user="u"))

    assert (len(reply), reply.dimensions, reply.usage.input, reply.usage.estimated) == (2, 3, 2, False)
    assert [warning.parameter for warning in reply.warnings] == ["user"]


@pytest.mark.parametrize("vectors", [[], [[1.0]], [[1.0], []], [[], []], [[1.0], [1.0, 2.0]]])
async def test_vectors_that_do_not_match_the_texts_are_an_error(provider, server, vectors):
    """They would be stored under the wrong texts."""
    server.script_vectors(vectors)
    with pytest.raises(ProviderError) as caught:
        await provider.embed(EmbeddingRequest("ollama", "embedder", ("a", "b"), LIMITS))

    assert (caught.value.type, caught.value.code, caught.value.model) == ("protocol", "schema", "embedder")


async def test_no_server_is_said_at_once_and_plainly(make, closed_port):
    """A refused connection is no timeout, and the message names the address and the remedy."""
    provider = await make(base_url=f"http://user:hunter2@127.0.0.1:{closed_port}")
    for call in (provider.generate(chat_request("hi")), provider.resolve_default_model(), provider.list_models()):
        with pytest.raises(ProviderError, match=f"no Ollama server at http://127.0.0.1:{closed_port}") as caught:
            await call
        assert caught.value.type == "network_error"
        assert caught.value.retryable
        assert "hunter2" not in repr(caught.value)
    report = await provider.health_check()

    assert not report.healthy
    assert "no Ollama server" in report.detail


async def test_the_health_check_asks_for_the_version_only(provider, server):
    report = await provider.health_check()

    assert (report.healthy, "0.33.0" in report.detail) == (True, True)
    assert report.latency is not None
    assert [call.path for call in server.calls] == ["/api/version"]
    assert server.store.loads == []


async def test_facts_come_from_the_server_and_the_context_from_the_configuration(make, server):
    provider = await make(options={"num_ctx": 1024}, models=["tiny"])
    assert (provider.facts("tiny").context_window, provider.facts("tiny").capabilities) == (1024, frozenset())
    await provider.health_check()
    facts = provider.facts("tiny")

    assert facts.context_window == 1024
    assert {"chat", "tools", "thinking", "json_schema"} <= facts.capabilities
    assert facts.lacks("vision")


async def test_a_context_beyond_the_models_own_is_not_believed(make, server):
    provider = await make(options={"num_ctx": 1_000_000}, models=["tiny"])
    await provider.health_check()

    assert provider.facts("tiny").context_window == 4096


async def test_the_list_says_what_is_in_memory_and_what_is_elsewhere(provider, server):
    server.store.add([OllamaModelSpec("huge:cloud", remote_host="https://ollama.com:443")])
    await provider.load_model("tiny")
    listed = {model.name: model for model in await provider.list_models()}

    assert {name: model.loaded for name, model in listed.items()} == {
        "huge:cloud": None,
        "tiny:latest": True,
        "embedder:latest": False,
    }
    assert listed["embedder:latest"].facts.capabilities == {"embeddings"}
    assert listed["tiny:latest"].size_bytes == 1_000_000
    assert "ollama.com" in listed["huge:cloud"].detail


async def test_the_default_model_is_configured_or_found(make, server):
    """The newest model that can chat here: neither one that only embeds nor one in a cloud."""
    server.store.add(
        [OllamaModelSpec("vectors", ("embedding",)), OllamaModelSpec("far:cloud", remote_host="https://x")]
    )

    assert await (await make(default_model="a", models=["b"])).resolve_default_model() == "a"
    assert await (await make(models=["b", "c"])).resolve_default_model() == "b"
    assert await (await make()).resolve_default_model() == "tiny:latest"


async def test_the_default_model_is_not_asked_for_with_every_call(provider, server):
    for _ in range(5):
        await provider.resolve_default_model()

    assert len(server.calls_to("/api/tags")) == 1


async def test_a_server_without_a_chat_model_has_no_default(make):
    async with OllamaServer(OllamaModelSpec("v", ("embedding",))) as server:
        assert await (await make(base_url=server.url)).resolve_default_model() is None


async def test_a_missing_model_says_how_to_get_it(provider, server):
    with pytest.raises(ProviderError, match="ollama pull ghost") as caught:
        await provider.generate(chat_request("hi", model="ghost"))

    assert (caught.value.type, caught.value.provider, caught.value.model) == ("model_not_found", "ollama", "ghost")
    assert server.calls_to("/api/pull") == []


@pytest.mark.parametrize("stream", [False, True])
async def test_with_auto_pull_a_missing_model_is_pulled_once(make, server, stream):
    provider = await make(auto_pull=True)
    server.publish(OllamaDownload(OllamaModelSpec("ghost")))
    request = chat_request("hi", model="ghost", stream=stream, user="u")
    text = await collected(provider, request) if stream else (await provider.generate(request)).content

    assert text == "You said: hi"
    assert len(server.calls_to("/api/pull")) == 1
    assert len(request.warnings) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_auto_pull_of_what_nobody_has_fails_once(make, server, stream):
    provider = await make(auto_pull=True)
    request = chat_request("hi", model="ghost", stream=stream)
    with pytest.raises(ProviderError) as caught:
        await (collected(provider, request) if stream else provider.generate(request))

    assert (caught.value.type, caught.value.model) == ("model_not_found", "ghost")
    assert [call.path for call in server.calls] == ["/api/chat", "/api/pull"]


async def test_auto_pull_leaves_other_errors_alone(make, server):
    provider = await make(auto_pull=True)
    server.script(OllamaAnswer(error="the runner has stopped"))
    with pytest.raises(ProviderError, match="runner"):
        await collected(provider, chat_request("hi", stream=True))

    assert server.calls_to("/api/pull") == []


async def test_a_configured_key_goes_with_calls_of_every_kind(make):
    """For Ollama's own cloud, or a proxy before the server."""
    async with OllamaServer("tiny", api_key="secret-key-1234") as server:
        provider = await make(base_url=server.url, api_key="secret-key-1234")
        await provider.generate(chat_request("hi", api_key="secret-key-1234"))
        await provider.list_models()
        await provider.load_model("tiny")
        stranger = await make(base_url=server.url)

        with pytest.raises(ProviderError) as caught:
            await stranger.generate(chat_request("hi"))
        assert caught.value.type == "authentication"


async def test_a_provider_that_was_not_started_says_so():
    provider = OllamaProvider(OllamaConfig(), provider_services("ollama"))

    with pytest.raises(ProviderError, match="not running"):
        await provider.client.version()
    await provider.close()


async def test_f149_a_server_that_comes_back_is_found_again(make, closed_port):
    """An upgrade restarts it behind us; the list is asked for afresh and the next call works."""
    server, again = OllamaServer("tiny"), OllamaServer("other", version="0.40.0")
    await server.start(closed_port)
    provider = await make(base_url=server.url)
    assert await provider.resolve_default_model() == "tiny:latest"
    await server.stop()
    assert not (await provider.health_check()).healthy

    await again.start(closed_port)
    try:
        assert (await provider.health_check()).healthy
        assert await provider.resolve_default_model() == "other:latest"
        assert (await provider.generate(chat_request("hi", model="other"))).content == "You said: hi"
    finally:
        await again.stop()
