"""Our requests are accepted by a server that checks them as the vendor does, and its answers are read."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import Message, ThinkingPart, ToolCall
from core.llm.common.types import PhaseLimits, Usage
from core.llm.providers.azure_openai.config import AzureOpenAIConfig
from core.llm.providers.azure_openai.provider import AzureOpenAIProvider
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.base.response import LLMResponse, ResponseCollector
from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai.provider import OpenAIProvider
from core.llm.providers.openai_style import OpenAIStyleProvider
from core.llm.testing import provider_services
from core.llm.testing.openai_answers import OpenAIAnswer
from core.llm.testing.openai_server import OpenAIServer

KEY = "key-of-the-test"
WEATHER = {
    "name": "weather",
    "description": "Current weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
CALL = ToolCall("call_1", "weather", {"city": "Bern"})
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "default": "x"}}, "title": "Person"}


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer(api_key=KEY, deployments={"mine": "gpt-6-luna", "plain": "gpt-4.1"}) as running:
        yield running


Place = tuple[OpenAIStyleProvider, str, str]


@pytest.fixture(params=["openai", "azure v1", "azure legacy"])
async def place(request: pytest.FixtureRequest, server: OpenAIServer) -> AsyncIterator[Place]:
    """A provider, and the names of a model that thinks and of one that does not."""
    made: OpenAIStyleProvider
    if request.param == "openai":
        config = OpenAIConfig.model_validate({"base_url": server.url, "api_key": KEY})
        made, names = OpenAIProvider(config, provider_services("p")), ("gpt-6-luna", "gpt-4.1")
    else:
        version = "2025-04-01-preview" if request.param == "azure legacy" else None
        models = {"mine": {"base_model": "gpt-6-luna"}, "plain": {"base_model": "gpt-4.1"}}
        azure = AzureOpenAIConfig.model_validate(
            {"base_url": server.root, "api_key": KEY, "api_version": version, "models": models}
        )
        made, names = AzureOpenAIProvider(azure, provider_services("p")), ("mine", "plain")
    await made.start()
    yield made, *names
    await made.close()


async def ask(
    made: OpenAIStyleProvider, model: str, messages: Any = "hello there", *, stream: bool = False, **params: Any
) -> LLMResponse:
    """The answer, streamed or not."""
    asked = LLMRequest(messages=messages, **params)
    request = ChatRequest(
        "p", model, asked, asked.messages, made.facts(model), PhaseLimits(), api_key=KEY, stream=stream
    )
    if not stream:
        return await made.generate(request)
    collector = ResponseCollector()
    async for event in made.stream_generate(request):
        collector.add(event)
    return collector.response()


@pytest.mark.parametrize("stream", [False, True])
async def test_words_come_back_from_either_endpoint(place: Place, server: OpenAIServer, stream: bool) -> None:
    """With every token in one bucket."""
    made, thinking, plain = place
    for model, params in ((plain, {}), (thinking, {"tools": [WEATHER]})):
        answer = await ask(made, model, stream=stream, **params)
        assert answer.content == "hello there"
        assert answer.usage == Usage(input=7, cache_read=2, output=5, reasoning=3)
        assert answer.finish_reason.unified == "stop"
    chat, responses = (call.path.rpartition("/")[2] for call in server.calls)
    assert (chat, responses) == ("completions", "responses")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_thinks_keeps_its_thoughts_across_a_tool_call(
    place: Place, server: OpenAIServer, stream: bool
) -> None:
    """The server takes only the reasoning that it handed out, before what came of it, and results for every call."""
    made, thinking, _ = place
    server.script(OpenAIAnswer("Let me see", (CALL,), reasoning="They ask", phase="commentary"), OpenAIAnswer("Sunny"))
    first = await ask(made, thinking, "Weather in Bern?", stream=stream, tools=[WEATHER], thinking="low")
    assert (first.thinking, first.content, first.finish_reason.unified) == ("They ask", "Let me see", "tool_calls")
    assert first.tool_calls == (CALL,)
    for part in first.parts:
        if isinstance(part, ThinkingPart):
            object.__setattr__(part, "provider", "p")
    history = [Message("user", "Weather in Bern?"), first.message, Message("tool", "21 C", tool_call_id="call_1")]
    second = await ask(made, thinking, history, stream=stream, tools=[WEATHER])
    assert second.content == "Sunny"
    sent = server.calls[-1].body["input"]
    assert [item.get("type", item.get("role")) for item in sent] == [
        "user", "reasoning", "message", "function_call", "function_call_output",
    ]  # fmt: skip
    assert sent[2]["phase"] == "commentary"
    assert sent[1]["summary"] == [{"type": "summary_text", "text": "They ask"}]


async def test_reasoning_of_another_provider_stays_here(place: Place, server: OpenAIServer) -> None:
    """It could not be verified there; the words and calls go on."""
    made, thinking, _ = place
    foreign = Message("assistant", (ThinkingPart("hm", "rs_9", "gAAAAforeign", "elsewhere"),), tool_calls=(CALL,))
    history = [Message("user", "u"), foreign, Message("tool", "21 C", tool_call_id="call_1")]
    assert (await ask(made, thinking, history, tools=[WEATHER])).content == "21 C"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_refusals_and_limits_are_the_same_on_both(
    place: Place, server: OpenAIServer, api: Any, stream: bool
) -> None:
    """A refusal is no text; a cut answer says so."""
    made, _, plain = place
    made.dialect.api = api  # type: ignore[attr-defined]  # the configured choice, changed in place
    server.script(OpenAIAnswer(refusal="I cannot help"), OpenAIAnswer("half a", finish="length"))
    refused = await ask(made, plain, stream=stream, response_format=SCHEMA)
    assert (refused.refusal, refused.content, refused.finish_reason.unified) == ("I cannot help", "", "refusal")
    assert (await ask(made, plain, stream=stream, max_tokens=20)).finish_reason.unified == "length"


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_everything_that_can_be_set_is_accepted_or_reported(place: Place, api: Any) -> None:
    """By both kinds of model."""
    made, thinking, plain = place
    made.dialect.api = api  # type: ignore[attr-defined]  # the configured choice, changed in place
    everything = {
        "temperature": 0.5, "top_p": 0.9, "top_k": 3, "max_tokens": 5, "stop": ["END"], "seed": 7, "user": "u-1",
        "frequency_penalty": 0.1, "presence_penalty": 0.1, "tools": [WEATHER, {"name": "free"}],
        "tool_choice": "weather", "parallel_tool_calls": False, "response_format": SCHEMA, "thinking": "max",
    }  # fmt: skip
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "u"}, picture]},
    ]
    for model in (thinking, plain):
        assert (await ask(made, model, messages, **everything)).content.strip() == "u"


async def test_embeddings_and_models(place: Place) -> None:
    """In order, and by name."""
    made, _, plain = place
    vectors = await made.embed(EmbeddingRequest("p", plain, ("a", "bbb"), PhaseLimits(), dimensions=2, api_key=KEY))
    assert vectors.vectors == ((1.0, 0.5), (3.0, 1.5))
    assert [model.name for model in await made.list_models()] == ["gpt-6-luna", "gpt-4.1"]


async def test_the_tier_that_was_used_is_kept(place: Place, server: OpenAIServer) -> None:
    """The price depends on it; a stream has no raw answer to look into."""
    made, thinking, plain = place
    for model, params in ((plain, {}), (thinking, {"tools": [WEATHER]})):
        server.script(OpenAIAnswer("x", service_tier="flex"))
        usage = (await ask(made, model, stream=True, **params)).usage
        assert usage.raw is not None
        assert usage.raw["service_tier"] == "flex"


@pytest.mark.parametrize(
    ("extra", "says"),
    [({"nonsense": 1}, "Unknown parameter"), ({"temperature": "hot"}, "Invalid type")],
)
async def test_the_server_is_strict(place: Place, extra: dict[str, Any], says: str) -> None:
    """Otherwise the tests above would prove nothing."""
    made, thinking, plain = place
    for model, tools in ((plain, ()), (thinking, (WEATHER,))):
        asked = LLMRequest(messages="u", tools=list(tools) or None)
        request = ChatRequest(
            "p", model, asked, asked.messages, made.facts(model), PhaseLimits(), api_key=KEY, extra=extra
        )
        with pytest.raises(ProviderError) as caught:
            await made.generate(request)
        assert (caught.value.type, says in str(caught.value)) == ("invalid_request", True)
