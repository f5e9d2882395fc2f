"""Our providers talk to servers that nobody wrote for them: llama.cpp's, and the LiteLLM proxy in front of it.

The model is the one that ships with the library. It is too small to be right, so what is tested is the wire: what is
asked arrives, and what comes back is read. Where a peer cannot do something, `LIMITS` says so, and that our error is clear.
"""

import pytest
from pydantic import BaseModel

from core.container import Container
from core.llm import LLMService
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.messages import Message
from core.llm.module import ProviderModule
from core.llm.providers.base.request import ToolDefinition
from core.llm.providers.base.response import StreamFinish, StreamStart, TextDelta
from tests.peers.processes import MODEL

PEERS = (
    "llama.cpp chat", "llama.cpp responses", "llama.cpp messages", "litellm chat", "litellm responses",
    "litellm messages", "litellm gemini", "litellm azure",
)  # fmt: skip
every_peer = pytest.mark.parametrize("peer", PEERS)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

NO_SUCH_FORMAT = "its Responses endpoint ignores `text.format`"
NO_VECTORS = "the Messages format has no embeddings"
ALWAYS_COMPLETED = "its Responses endpoint calls every answer completed, also one that the cap has cut off"
LIMITS = {
    ("cut", "llama.cpp responses"): (ALWAYS_COMPLETED, "AssertionError"),
    ("cut", "litellm responses"): (ALWAYS_COMPLETED, "AssertionError"),
    ("cut", "litellm messages"): (f"the proxy asks there: {ALWAYS_COMPLETED}", "AssertionError"),
    ("object", "llama.cpp responses"): (NO_SUCH_FORMAT, "StructuredOutputError"),
    ("object", "litellm responses"): (NO_SUCH_FORMAT, "StructuredOutputError"),
    ("embed", "llama.cpp messages"): (NO_VECTORS, "UnsupportedFeature"),
    ("embed", "litellm messages"): (NO_VECTORS, "UnsupportedFeature"),
    ("embed", "litellm gemini"): ("the proxy has no address for embeddings in this format", "model_not_found"),
    ("models", "litellm gemini"): ("the proxy has no list of models in this format", "model_not_found"),
    ("models", "litellm azure"): ("the proxy fails on a list of models in this format", "server_error"),
}
"""What a peer cannot do, why, and which error that is."""

CITY = {"type": "string", "enum": ["Paris", "Oslo"]}
PARAMETERS = {"type": "object", "properties": {"city": CITY}, "required": ["city"], "additionalProperties": False}
TOOL = ToolDefinition("weather", "The weather in a city.", PARAMETERS)


class Weather(BaseModel):
    """What a model is asked for."""

    city: str
    warm: bool


@pytest.fixture
async def llm(peers, peer):
    """A service with one provider: the peer under test."""
    entry = {**peers[peer], "models": [MODEL]}
    config = {
        "default_model": f"peer/{MODEL}",
        "providers": {"peer": entry},
        "retry": {"max_retries": 0},
        "health_check": {"enabled": False},
    }
    async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
        yield container.get(LLMService)


class _Limit:
    """The call inside works, or fails in the way that `LIMITS` says."""

    def __init__(self, request, what: str, peer: str) -> None:
        self._reason, self._error = LIMITS.get((what, peer), ("", ""))
        self._request = request

    def __enter__(self) -> None:
        if self._reason:
            self._request.node.user_properties.append(("limit", self._reason))

    def __exit__(self, kind, error, traceback) -> bool:
        if not self._reason:
            return False
        assert isinstance(error, LLMError | AssertionError), f"this works now: {self._reason} is no longer true"
        assert self._error in {type(error).__name__, getattr(error, "type", "")}
        return True


async def _ask(llm, messages, *, stream, **options):
    if not stream:
        return await llm.generate(messages, **options)
    async with llm.stream(messages, **options) as events:
        seen = [event async for event in events]
        assert isinstance(seen[0], StreamStart)
        assert isinstance(seen[-1], StreamFinish)
        response = await events.response()
    assert "".join(event.text for event in seen if isinstance(event, TextDelta)) == response.content
    return response


@both_ways
@every_peer
async def test_chat(llm, peer, stream):
    """An answer with text, a reason to stop, and counted tokens."""
    response = await _ask(llm, "Say hello", stream=stream, max_tokens=40)
    assert "hello" in response.content.lower()
    assert response.finish_reason.unified == "stop"
    assert response.usage.output > 0
    # The proxy's streams in Google's format say nothing about tokens.
    assert response.usage.estimated is (peer == "litellm gemini" and stream)


@both_ways
@every_peer
async def test_a_longer_conversation(llm, peer, stream):
    """System text and an earlier answer go along."""
    history = [
        Message("system", "You are friendly."),
        Message("user", "Say hello"),
        Message("assistant", "Hello!"),
        Message("user", "Say hello"),
    ]
    response = await _ask(llm, history, stream=stream, max_tokens=40)
    assert response.content
    assert response.usage.input_total > 0


@both_ways
@every_peer
async def test_a_cut_answer_says_so(llm, peer, stream, request):
    """The cap on tokens arrives, and its effect comes back."""
    response = await _ask(llm, "What is core-llm?", stream=stream, max_tokens=16)
    assert response.usage.output <= 16
    with _Limit(request, "cut", peer):
        assert response.finish_reason.unified == "length"


@both_ways
@every_peer
async def test_tools(llm, peer, stream):
    """A forced call, its result, and an answer after it."""
    history = [Message("user", "What is the weather in Paris?")]
    response = await _ask(llm, history, stream=stream, tools=[TOOL], tool_choice="required", max_tokens=60)
    [call] = response.tool_calls
    assert call.name == "weather"
    assert call.arguments["city"] in CITY["enum"]
    assert response.finish_reason.unified == "tool_calls"
    history += [response.message, Message("tool", "18 degrees", tool_call_id=call.id)]
    answer = await _ask(llm, history, stream=stream, tools=[TOOL], tool_choice="none", max_tokens=40)
    assert answer.content
    assert not answer.tool_calls


@every_peer
async def test_an_object(llm, peer, request):
    """JSON that fits a schema: by the peer's own mode, or by a tool."""
    with _Limit(request, "object", peer):
        response = await llm.generate_object("The weather in Paris", Weather, max_tokens=100)
        assert isinstance(response.object, Weather)


@every_peer
async def test_embeddings(llm, peer, request):
    """In order, of one length, and the same whether they come together or alone."""
    with _Limit(request, "embed", peer):
        both = await llm.embed(["a dog", "a cat in the sun"])
        first, second = both.vectors
        [alone] = (await llm.embed("a cat in the sun")).vectors
        assert len(first) == len(second) == len(alone) > 10
        assert alone == pytest.approx(second, abs=1e-3)
        assert both.usage.input > 0


@every_peer
async def test_the_list_of_models(llm, peer, request):
    """Names that can be asked for."""
    with _Limit(request, "models", peer):
        assert [model.name for model in await llm.list_models("peer")]


@both_ways
@every_peer
async def test_a_prompt_that_is_too_long(llm, peer, stream):
    """Each server says it in its own words; it is one error to a caller."""
    with pytest.raises(ProviderError) as caught:
        await _ask(llm, "hello " * 5000, stream=stream)
    assert caught.value.type == "context_length"
    assert not caught.value.retryable


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.startswith("llama.cpp")])
async def test_a_wrong_key(peers, peer):
    """It fails in every format alike. The proxy cannot tell: without a database it knows no keys but its own."""
    wrong = {**peers[peer], "api_key": "sk-wrong"}
    config = {"providers": {"peer": {**wrong, "models": [MODEL]}}, "default_model": f"peer/{MODEL}"}
    module = ProviderModule({"llm_service": {**config, "retry": {"max_retries": 0}}}, watch=False, env={})
    async with Container([module]) as container:
        with pytest.raises(ProviderError) as caught:
            await container.get(LLMService).generate("Say hello")
    assert caught.value.type == "authentication"
    assert "sk-wrong" not in str(caught.value)
