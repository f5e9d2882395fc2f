"""Chat, lists, health and errors of the LM Studio provider, over real HTTP."""

import pytest

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.messages import ImagePart, Message, TextPart
from core.llm.providers.base.request import NamedTool, ToolDefinition
from core.llm.providers.base.response import ResponseCollector
from core.llm.providers.lm_studio.config import LMStudioConfig
from core.llm.providers.lm_studio.provider import LMStudioProvider
from core.llm.testing import provider_services
from core.llm.testing.lm_studio_server import LMStudioServer, OpenAIAnswer
from tests.wire.lm_studio.support import chat_request, embedding_request

CHAT = "/v1/chat/completions"
TOOLS = (ToolDefinition("weather"), ToolDefinition("time"))


async def collected(provider, request):
    collector = ResponseCollector()
    async for event in provider.stream_generate(request):
        collector.add(event)
    return collector.response()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_with_thinking_and_tools(provider, server, stream):
    """An empty list of tool calls, a leading newline and numbers as ids are no trouble."""
    server.script(
        OpenAIAnswer("\n\nSunny", "The user asks", [("weather", '{"city":"Paris"}')]), OpenAIAnswer("\n\nSunny", "Hm")
    )

    async def ask():
        request = chat_request(stream=stream, tools=TOOLS)
        return await (collected(provider, request) if stream else provider.generate(request))

    first, second = await ask(), await ask()
    assert (first.content, first.thinking) == ("\n\nSunny", "The user asks")
    assert [(call.id, call.name, dict(call.arguments)) for call in first.tool_calls] == [
        ("163453437", "weather", {"city": "Paris"})
    ]
    assert first.finish_reason.unified == "tool_calls"
    assert (second.tool_calls, second.finish_reason.unified) == ((), "stop")
    assert second.usage.total == 9


async def test_thinking_in_the_field_of_gpt_oss():
    """`reasoning` instead of `reasoning_content`."""
    async with LMStudioServer("tiny", preview=True) as server:
        server.script(OpenAIAnswer("Yes", "Let me see"))
        provider = LMStudioProvider(LMStudioConfig(base_url=server.url), provider_services("lm_studio"))
        await provider.start()

        assert (await provider.generate(chat_request())).thinking == "Let me see"
        await provider.close()


async def test_a_stream_that_is_cut_is_an_error(provider, server):
    """Never an answer that just stops."""
    server.script(OpenAIAnswer("one two", cut=True))
    with pytest.raises(ProviderError) as caught:
        await collected(provider, chat_request(stream=True))

    assert (caught.value.type, caught.value.code) == ("protocol", "truncated")


async def test_a_tool_is_forced_with_the_words_it_knows(provider, server):
    """It refuses an object; `required` with one tool means the same, and is reported."""
    request = chat_request(tools=TOOLS, tool_choice=NamedTool("time"))
    await provider.generate(request)
    body = server.calls[-1].body

    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["time"]
    assert [(warning.code, warning.parameter) for warning in request.warnings] == [("emulated", "tool_choice")]


async def test_a_forced_tool_must_be_there(provider, server):
    """Nothing is sent."""
    with pytest.raises(UnsupportedFeature, match="'none_such'"):
        await provider.generate(chat_request(tools=TOOLS, tool_choice=NamedTool("none_such")))
    assert not server.calls


async def test_any_json_object_is_asked_for_by_a_schema(provider, server):
    """It knows no `json_object`."""
    await provider.generate(chat_request(response_format="json"))

    assert server.calls[-1].body["response_format"]["json_schema"]["schema"] == {"type": "object"}


async def test_pictures_travel_as_bytes_only(provider, server):
    """It fetches nothing, so a URL is refused before anything is sent."""
    with pytest.raises(UnsupportedFeature, match="by URL"):
        await provider.generate(chat_request([Message("user", (ImagePart(url="https://example.com/a.png"),))]))
    assert not server.calls
    picture = ImagePart(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
    await provider.generate(chat_request([Message("user", (TextPart("What is it?"), picture))]))

    part = server.calls[-1].body["messages"][0]["content"][1]
    assert part["image_url"]["url"].startswith("data:image/png;base64,")


async def test_what_it_does_not_know_is_dropped_and_reported(provider, server):
    """Never sent in silence, never lost in silence."""
    request = chat_request(tools=TOOLS, user="u-1", parallel_tool_calls=False, top_k=20, seed=7)
    await provider.generate(request)
    body = server.calls[-1].body

    assert {"user", "parallel_tool_calls"}.isdisjoint(body)
    assert (body["top_k"], body["seed"]) == (20, 7)
    assert {warning.parameter for warning in request.warnings} == {"user", "parallel_tool_calls"}


async def test_an_unknown_model_is_named_with_those_that_are_there(provider):
    """LM Studio says it with a status 400."""
    with pytest.raises(ProviderError, match="valid downloaded model") as caught:
        await provider.generate(chat_request(model="nowhere"))

    assert (caught.value.type, caught.value.code, caught.value.status_code) == (
        "model_not_found",
        "model_not_found",
        400,
    )


async def test_the_models_are_listed_with_what_is_known_of_them(provider, server):
    """Kind, size, context and abilities; what is in memory has the context it was loaded with."""
    await provider.load_model("tiny")
    models = {info.name: info for info in await provider.list_models()}

    assert {name: info.loaded for name, info in models.items()} == {"embedder": False, "tiny": True, "other": False}
    assert models["tiny"].facts.context_window == 4096
    assert models["other"].facts.context_window == 32_768
    assert not models["tiny"].facts.lacks("thinking")
    assert not models["tiny"].facts.lacks("tools")
    assert models["other"].facts.lacks("tools")
    assert not models["other"].facts.lacks("vision")
    assert models["embedder"].facts.capabilities == {"embeddings"}
    assert (models["tiny"].size_bytes, models["tiny"].detail) == (1_000_000, "1B Q4_K_M")
    assert provider.facts("tiny@q4") == models["tiny"].facts


async def test_the_configured_context_is_known_before_the_server_is_asked(make):
    """Routing counts with it."""
    provider = await make(options={"context_length": 8192})

    assert provider.facts("tiny").context_window == 8192
    await provider.health_check()
    assert provider.facts("tiny").context_window == 8192


async def test_health_costs_no_tokens_and_loads_nothing(provider, server):
    """It asks for the list, and learns the facts by the way."""
    report = await provider.health_check()

    assert (report.healthy, report.models) == (True, ("embedder", "tiny", "other"))
    assert "3 models, 0 in memory" in report.detail
    assert [call.path for call in server.calls] == ["/api/v1/models"]
    assert provider.facts("tiny").context_window == 32_768


async def test_the_default_is_what_is_in_memory(make, server):
    """Then what is configured, then the first language model; `default_model` comes before all."""
    plain, configured = await make(), await make(models=["tiny"])
    assert await plain.resolve_default_model() == "tiny"
    await plain.load_model("other")
    assert await plain.resolve_default_model() == "other"
    assert await configured.resolve_default_model() == "other"
    await plain.load_model("tiny")
    assert await configured.resolve_default_model() == "tiny"
    assert await (await make(default_model="mine")).resolve_default_model() == "mine"
    server.models.clear()
    server.state.instances.clear()
    assert await plain.resolve_default_model() is None


async def test_nobody_answers():
    """The message says what is missing and what to do; health says the same and never raises."""
    async with LMStudioServer("tiny") as server:
        url = server.url
    provider = LMStudioProvider(LMStudioConfig(base_url=url), provider_services("lm_studio"))
    await provider.start()
    for act in (provider.generate(chat_request()), provider.list_models(), provider.load_model("tiny")):
        with pytest.raises(ProviderError, match=f"no LM Studio server at {url}.*lms server start") as caught:
            await act
        assert caught.value.type == "network_error"
    report = await provider.health_check()
    assert not report.healthy
    assert "no LM Studio server" in report.detail
    await provider.close()


async def test_a_token_is_sent_with_everything_and_shown_nowhere():
    """Chat gets the key of the attempt, the rest the configured one."""
    async with LMStudioServer("tiny", api_key="lm-secret-token") as server:
        headers = {"x-ticket": "ticket-of-a-proxy"}
        config = LMStudioConfig(base_url=server.url, api_key="lm-secret-token", headers=headers)
        provider = LMStudioProvider(config, provider_services("lm_studio"))
        await provider.start()
        await provider.load_model("tiny")
        await provider.generate(chat_request(api_key="lm-secret-token"))
        assert (await provider.health_check()).healthy
        refusal = "bad token lm-secret-token with ticket-of-a-proxy"
        server.fail("/api/v1/models/unload", 401, {"error": {"message": refusal}})
        with pytest.raises(ProviderError) as caught:
            await provider.unload_model("tiny")
        assert caught.value.type == "authentication"
        assert "bad token" in str(caught.value)
        assert "lm-secret-token" not in str(caught.value)
        assert "ticket-of-a-proxy" not in str(caught.value)
        await provider.close()


async def test_a_key_for_a_server_that_wants_none_changes_nothing(make, server):
    """People write `key` or `x` there: cut out of every answer, no list of models could be read, and no error."""
    provider = await make(api_key="key")
    server.fail("/v1/chat/completions", 400, {"error": {"message": "no keys: the prompt is too long"}})
    with pytest.raises(ProviderError, match="no keys: the prompt is too long"):
        await provider.generate(chat_request(api_key="key"))

    assert [info.name for info in await provider.list_models()] == ["embedder", "tiny", "other"]
    assert (await provider.health_check()).models == ("embedder", "tiny", "other")


async def test_an_older_server_can_chat_and_says_what_it_lacks():
    """It answers unknown addresses with a status 200 and an error."""
    async with LMStudioServer("tiny", native=False) as server:
        provider = LMStudioProvider(LMStudioConfig(base_url=server.url), provider_services("lm_studio"))
        await provider.start()
        assert (await provider.generate(chat_request())).content == "Hello there"
        assert [info.name for info in await provider.list_models()] == ["tiny"]
        assert (await provider.health_check()).healthy
        with pytest.raises(ProviderError, match="needs LM Studio"):
            await provider.load_model("tiny")
        await provider.close()


async def test_embeddings_come_in_order(make):
    """In several requests where the list is long."""
    provider = await make(embedding_batch_size=2)
    reply = await provider.embed(embedding_request("a", "bbb", "cc"))

    assert [vector[0] for vector in reply.vectors] == [1.0, 3.0, 2.0]
