"""llama-server over HTTP: as a router that loads and unloads, and as a server of one model."""

import pytest

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.llama_server.config import LlamaServerConfig
from core.llm.providers.llama_server.provider import LlamaServerProvider
from core.llm.testing import provider_services
from core.llm.testing.llama_router_server import LlamaRouterServer, RouterModelSpec
from tests.peers.processes import KEY, llama_server


@pytest.fixture
async def serve():
    """Start a server with the switches of the test; it is stopped at the end."""
    running: list[LlamaRouterServer] = []

    async def start(*models, **switches) -> LlamaRouterServer:
        server = LlamaRouterServer(*(models or ("tiny", RouterModelSpec("large", context=8192))), **switches)
        await server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        await server.stop()


@pytest.fixture
def make(started, events):
    """Start a provider for an address; it is closed at the end."""

    async def start(url: str, **config) -> LlamaServerProvider:
        settings = LlamaServerConfig(**{"base_url": url, **config})
        services = provider_services("llama_server", events=events)
        return await started(LlamaServerProvider(settings, services))

    return start


def chat(model: str, key: str | None = None, **params) -> ChatRequest:
    asked = LLMRequest(messages="Say hello", **params)
    return ChatRequest("llama_server", model, asked, asked.messages, ModelFacts(), PhaseLimits(), key)


async def test_the_list_tells_what_is_in_memory_and_how_long_a_prompt_may_be(serve, make):
    """The context is the one that the router starts its process with."""
    provider = await make((await serve()).url)
    await provider.load_model("large")
    listed = {info.name: (info.loaded, info.facts.context_window) for info in await provider.list_models()}
    assert listed == {"tiny": (False, 4096), "large": (True, 8192)}
    report = await provider.health_check()
    assert (report.healthy, report.models) == (True, ("tiny", "large"))
    assert "2 models, 1 in memory" in report.detail


async def test_a_load_is_followed_until_it_is_there(serve, make):
    """The router answers at once; the load has ended only when the list says so."""
    server = await serve(RouterModelSpec("slow", load_seconds=0.3))
    provider = await make(server.url)
    status = await provider.load_model("slow")
    assert status.state == "ready"
    assert server.loaded() == ["slow"]
    assert [call.path for call in server.calls].count("/models/load") == 1


async def test_a_load_that_takes_too_long_is_a_timeout_F141(serve, make):
    """By the limit of the provider; the router goes on, and the next load finds it further along."""
    server = await serve(RouterModelSpec("slow", load_seconds=4))
    provider = await make(server.url, load_timeout="300ms")
    with pytest.raises(ProviderError) as caught:
        await provider.load_model("slow")
    assert (caught.value.type, caught.value.code) == ("timeout", "load_timeout")
    patient = await make(server.url)
    assert (await patient.load_model("slow")).state == "ready"
    assert server.loads == ["slow"]


async def test_a_process_that_ends_while_it_loads_is_told_with_its_exit_code_F140(serve, make, recorder):
    """The reason itself is in the output of the server, and that is said."""
    provider = await make((await serve("tiny", RouterModelSpec("bad", load_error="damaged"))).url)
    with pytest.raises(ProviderError, match="exit code 1") as caught:
        await provider.load_model("bad")
    assert (caught.value.code, caught.value.retryable) == ("load_failed", False)
    assert (await provider.model_status("bad")).state == "failed"
    assert [event.state for event in recorder.of(ModelEvent)][-1] == "failed"


async def test_a_call_has_the_router_load_its_model_and_another_one_go(serve, make):
    """`--models-max 1`: the router makes room by itself."""
    server = await serve(models_max=1)
    provider = await make(server.url)
    await provider.load_model("tiny")
    assert (await provider.generate(chat("large"))).content == "Hello there"
    assert server.loaded() == ["large"]
    assert [status.model for status in await provider.loaded_models(["tiny"])] == ["large"]


async def test_loading_what_is_there_and_unloading_what_is_not_is_no_error(serve, make):
    """The router refuses both."""
    server = await serve()
    provider = await make(server.url)
    await provider.api.load("tiny")
    await provider.api.load("tiny")
    assert (await provider.unload_model("tiny")).state == "unloaded"
    assert (await provider.unload_model("tiny")).state == "unloaded"


async def test_a_model_that_the_router_does_not_have(serve, make):
    """The same error for a load and for a call, though the router has two."""
    provider = await make((await serve()).url)
    for work in (provider.load_model("nope"), provider.generate(chat("nope"))):
        with pytest.raises(ProviderError) as caught:
            await work
        assert caught.value.type == "model_not_found"


async def test_a_server_of_one_model_has_it_always_and_says_that_it_cannot_unload(serve, make):
    """What to do is said as well."""
    provider = await make((await serve("only", router=False)).url)
    assert (await provider.load_model("only")).state == "ready"
    assert (await provider.resolve_default_model()) == "only"
    with pytest.raises(ProviderError, match="--models-dir") as caught:
        await provider.unload_model("only")
    assert (caught.value.type, caught.value.code) == ("invalid_request", "unsupported")


async def test_nobody_there(make):
    """It is said what was looked for, and how it is started."""
    provider = await make("http://127.0.0.1:9")
    with pytest.raises(ProviderError, match=r"no llama\.cpp server at") as caught:
        await provider.load_model("tiny")
    assert caught.value.type == "network_error"


async def test_a_real_llama_server(make, tmp_path):
    """llama.cpp's own server with the model that ships with the library, in a process of its own."""
    async with llama_server(tmp_path) as address:
        provider = await make(address, api_key=KEY)
        (info,) = await provider.list_models()
        assert info.loaded is True
        assert (await provider.health_check()).healthy
        assert (await provider.load_model(info.name)).state == "ready"
        assert (await provider.model_status(info.name)).state == "ready"
        answer = await provider.generate(chat(info.name, KEY, max_tokens=20))
        assert "hello" in answer.content.lower()
        with pytest.raises(ProviderError) as caught:
            await provider.unload_model(info.name)
        assert caught.value.code in {"unsupported", "unload_timeout"}
