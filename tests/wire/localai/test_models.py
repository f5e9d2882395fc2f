"""Load, unload and status of models on a LocalAI server, end to end over HTTP."""

import asyncio

import pytest

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.provider import ModelHost, ModelPuller, ModelStatus
from core.llm.testing import FakeClock
from core.llm.testing.localai_server import OpenAIAnswer
from tests.wire.lm_studio.support import chat_request, embedding_request, until

LOAD, TOKENIZE, CHAT = "/backend/load", "/v1/tokenize", "/v1/chat/completions"


async def test_a_model_is_loaded_and_shut_down(serve, make, events, recorder):
    """ML-20: the end of an unload is what the backend monitor says."""
    server = await serve()
    provider = await make(server, events=events)
    assert isinstance(provider, ModelHost)
    assert isinstance(provider, ModelPuller)
    assert await provider.model_status("tiny") == ModelStatus("tiny", "unloaded")
    loaded = await provider.load_model("tiny")
    assert (loaded.state, loaded.memory_bytes, loaded.detail) == ("ready", 1_073_741_824, "")
    assert server.loaded() == ["tiny"]
    assert (await provider.unload_model("tiny")).state == "unloaded"
    assert server.loaded() == []

    assert not server.calls_to(CHAT)
    states = [(event.kind, event.state) for event in recorder.of(ModelEvent)]
    assert states == [("load", "loading"), ("load", "ready"), ("unload", "unloading"), ("unload", "unloaded")]


async def test_an_older_server_loads_by_counting_tokens(serve, make):
    """Nothing is generated, and the status says how it was done."""
    server = await serve(loads=False)
    provider = await make(server)
    status = await provider.load_model("tiny")

    assert (status.state, "counting tokens" in status.detail) == ("ready", True)
    assert server.calls_to(TOKENIZE)[0].body == {"model": "tiny", "content": "a"}
    assert not server.calls_to(CHAT)


async def test_a_server_that_can_only_generate_is_not_made_to(serve, make):
    """Loading ahead is refused with the reason; a request still loads the model."""
    server = await serve(loads=False, tokenizes=False)
    provider = await make(server)
    with pytest.raises(ProviderError, match="without generating") as caught:
        await provider.load_model("tiny")
    assert (caught.value.type, caught.value.code) == ("invalid_request", "unsupported")
    assert not server.calls_to(CHAT)

    assert (await provider.generate(chat_request())).content == "Hello there"
    assert (await provider.model_status("tiny")).state == "ready"


async def test_fifty_loads_are_one_and_outlive_their_callers(serve, make):
    """F142, ML-20."""
    server = await serve()
    server.models["tiny"].load_seconds = 5
    provider = await make(server)
    loads = [asyncio.create_task(provider.load_model("tiny")) for _ in range(50)]
    await until(lambda: server.calls_to(LOAD))
    for load in loads[:49]:
        load.cancel()
    assert (await provider.model_status("tiny")).state == "loading"
    await server.clock.advance(5)

    assert (await loads[49]).state == "ready"
    assert server.loads == ["tiny"]


async def test_a_load_that_fails_says_why(serve, make):
    """In the words of the backend."""
    server = await serve()
    server.models["tiny"].load_error = "CUDA out of memory"
    provider = await make(server)
    with pytest.raises(ProviderError, match="CUDA out of memory"):
        await provider.load_model("tiny")
    status = await provider.model_status("tiny")

    assert (status.state, "CUDA" in status.detail) == ("failed", True)


async def test_a_load_that_takes_too_long_fails_with_its_limit(serve, make):
    """F141."""
    server = await serve()
    server.models["tiny"].load_seconds = 60
    clock = FakeClock()
    provider = await make(server, clock=clock, load_timeout="5s")
    task = asyncio.create_task(provider.load_model("tiny"))
    await until(lambda: server.calls_to(LOAD))
    await clock.advance(6)
    with pytest.raises(ProviderError) as caught:
        await task

    assert (caught.value.type, caught.value.code) == ("timeout", "load_timeout")


async def test_a_model_at_work_is_in_use(serve, make):
    """What the backend monitor calls busy."""
    server = await serve()
    provider = await make(server)
    gate = asyncio.Event()
    server.script(OpenAIAnswer("one two", hold=gate))
    answer = asyncio.create_task(provider.generate(chat_request()))
    await until(lambda: "tiny" in server.loaded())
    assert (await provider.model_status("tiny")).state == "in_use"
    gate.set()

    assert (await answer).content == "one two"


async def test_a_backend_that_cannot_tell_its_state_is_unknown(serve, make):
    """Neither ready nor failed is claimed."""
    server = await serve()
    server.models["tiny"].silent = True
    provider = await make(server)
    await provider.load_model("tiny")

    assert (await provider.model_status("tiny")).state == "unknown"


async def test_the_watchdog_of_the_server_is_seen(serve, make):
    """ML-20: an idle model goes without our doing, and unloading it then is no error."""
    server = await serve(idle_timeout=900.0)
    provider = await make(server)
    await provider.load_model("tiny")
    await server.clock.advance(901)

    assert (await provider.model_status("tiny")).state == "unloaded"
    assert (await provider.unload_model("tiny")).state == "unloaded"


async def test_models_loaded_here_are_shut_down_at_the_end_where_that_is_wanted(serve, make):
    """ML-21."""
    server = await serve()
    await (await make(server)).load_model("seer")
    leaving = await make(server, unload_on_stop=True)
    await leaving.load_model("tiny")
    await leaving.close()

    assert server.loaded() == ["seer"]


async def test_the_models_are_listed_with_what_is_known_of_them(serve, make):
    """Context and abilities, and what is in memory."""
    server = await serve()
    provider = await make(server)
    await provider.load_model("tiny")
    models = {info.name: info for info in await provider.list_models()}

    assert {name: info.loaded for name, info in models.items()} == {"embedder": False, "tiny": True, "seer": False}
    assert models["tiny"].facts.context_window == 8192
    assert models["tiny"].facts.lacks("vision")
    assert not models["seer"].facts.lacks("vision")
    assert models["embedder"].facts.capabilities == {"embeddings"}


async def test_a_key_that_is_no_admin_can_list_and_chat(serve, make):
    """What is in memory is then not known, and managing says what is missing."""
    server = await serve(admin=False, capabilities=False)
    provider = await make(server)
    models = await provider.list_models()
    assert [(info.name, info.loaded) for info in models] == [("embedder", None), ("tiny", None), ("seer", None)]
    assert (await provider.generate(chat_request())).content == "Hello there"
    with pytest.raises(ProviderError, match="admin access required") as caught:
        await provider.load_model("tiny")

    assert caught.value.type == "permission"


async def test_the_default_is_what_is_in_memory(serve, make):
    """Then what is configured, then the first model that can chat."""
    server = await serve()
    plain, configured = await make(server), await make(server, models=["tiny"])
    assert await plain.resolve_default_model() == "tiny"
    await plain.load_model("seer")
    assert await plain.resolve_default_model() == "seer"
    assert await configured.resolve_default_model() == "seer"
    assert await (await make(server, default_model="mine")).resolve_default_model() == "mine"


async def test_health_costs_no_tokens_and_loads_nothing(serve, make):
    """It asks for the list."""
    server = await serve()
    report = await (await make(server)).health_check()

    assert (report.healthy, report.models) == (True, ("embedder", "tiny", "seer"))
    assert server.loaded() == []


async def test_nobody_answers(serve, make):
    """The message says what is missing and what to do."""
    server = await serve()
    provider = await make(server)
    await server.stop()
    with pytest.raises(ProviderError, match=r"no LocalAI server at .*local-ai run"):
        await provider.generate(chat_request())

    assert "no LocalAI server" in (await provider.health_check()).detail


async def test_a_token_is_sent_with_everything(serve, make):
    """Chat gets the key of the attempt, the rest the configured one."""
    server = await serve(api_key="local-secret")
    provider = await make(server, api_key="local-secret")
    await provider.load_model("tiny")
    reply = await provider.embed(embedding_request("a", "bbb", api_key="local-secret"))

    assert [vector[0] for vector in reply.vectors] == [1.0, 3.0]
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat_request(api_key="wrong"))
    assert caught.value.type == "authentication"
