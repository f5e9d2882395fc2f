"""What the OpenAI provider does around its wire format: account headers, batches, lists, health, and the end of streams."""

from collections.abc import Mapping
from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.base.response import StreamEvent, StreamFinish, StreamStart, TextDelta
from core.llm.providers.openai import PROVIDER
from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai.provider import OpenAIProvider
from core.llm.testing import provider_services
from tests.unit.dialects.chat import answer, chunk, sse
from tests.wire.openai.fake_transport import FakeTransport

KEY = "canary-4711-not-even-shaped-like-a-key"


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def provider(transport: FakeTransport) -> OpenAIProvider:
    config = OpenAIConfig.model_validate(
        {"api_key": KEY, "organization": "org-1", "project": "proj-1", "embedding_batch_size": 2}
    )
    provider = OpenAIProvider(config, provider_services("openai"))
    provider.transport = transport
    return provider


def chat(provider: OpenAIProvider, model: str = "gpt-6-luna", *, stream: bool = False, **params: Any) -> ChatRequest:
    """A request with the packaged facts of its model."""
    asked = LLMRequest(messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], **params)
    facts = provider.facts(model)
    return ChatRequest("openai", model, asked, asked.messages, facts, PhaseLimits(), api_key=KEY, stream=stream)


def texts(*inputs: str, **more: Any) -> EmbeddingRequest:
    """A request for vectors."""
    return EmbeddingRequest("openai", "text-embedding-3-small", inputs, PhaseLimits(), api_key=KEY, **more)


async def streamed(provider: OpenAIProvider) -> list[StreamEvent]:
    """All events of one stream."""
    return [event async for event in provider.stream_generate(chat(provider, stream=True))]


def test_the_spec_names_the_classes_without_importing_them() -> None:
    """The factory imports them when they are used."""
    assert PROVIDER.provider_class() is OpenAIProvider
    assert PROVIDER.config_class() is OpenAIConfig
    assert OpenAIConfig.needs_key


async def test_a_call_carries_the_account_and_the_rules_of_its_model(
    provider: OpenAIProvider, transport: FakeTransport
) -> None:
    """Packaged facts decide the name of the cap, the system role and what must be left out."""
    transport.will_answer(answer())
    request = chat(provider, max_tokens=9, temperature=0.2, thinking="off")
    response = await provider.generate(request)
    assert (response.content, response.provider, response.model) == ("Hi", "openai", "big-1")
    assert dict(transport.calls[0].headers) == {
        "content-type": "application/json",
        "accept": "application/json",
        "authorization": f"Bearer {KEY}",
        "openai-organization": "org-1",
        "openai-project": "proj-1",
    }
    assert KEY not in repr(transport.calls[0])
    assert transport.bodies() == [
        {
            "model": "gpt-6-luna",
            "messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": "u"}],
            "reasoning_effort": "none",
            "max_completion_tokens": 9,
        }
    ]
    assert [(warning.code, warning.parameter) for warning in request.warnings] == [("dropped", "temperature")]
    assert transport.replies[0].closed


async def test_s9_a_key_that_the_provider_echoes_leaves_the_error(
    provider: OpenAIProvider, transport: FakeTransport
) -> None:
    """S9: even where it looks like no key at all, and in no part of the exception."""
    transport.will_answer({"error": {"message": f"Who is {KEY}?", "code": "nope"}}, status=401)
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat(provider))
    error = caught.value
    assert (error.type, error.provider, error.model) == ("authentication", "openai", "gpt-6-luna")
    assert KEY not in f"{error} {error!r} {error.args} {error.__dict__} {error.__cause__}"


async def test_a_stream_is_placed_and_closed(provider: OpenAIProvider, transport: FakeTransport) -> None:
    """The start names provider and model, output is reported to the timers, the reply is closed."""
    reply = transport.will_answer(b": ping\n\n", sse(chunk({"content": "Hi"}), chunk(finish="stop")), x_request_id="r1")
    events = await streamed(provider)
    assert events[0] == StreamStart("big-1", "openai", "r1")
    assert isinstance(events[-1], StreamFinish)
    assert (reply.output_at, reply.closed) == (2, True)


async def test_f64_f65_nothing_is_read_after_the_terminal_marker(
    provider: OpenAIProvider, transport: FakeTransport
) -> None:
    """F64, F65: the iteration ends although the body goes on."""
    reply = transport.will_answer(sse(chunk({"content": "Hi"}), chunk(finish="stop")), b"data: {broken\n\n")
    assert isinstance((await streamed(provider))[-1], StreamFinish)
    assert (reply.taken, reply.closed) == (1, True)


@pytest.mark.parametrize("code", ["idle_timeout", "body_cut"])
async def test_a_connection_lost_after_the_finish_reason_loses_nothing(
    provider: OpenAIProvider, transport: FakeTransport, code: str
) -> None:
    """F63: a server that never sends `[DONE]` and keeps the socket open, or resets it."""
    lost = ProviderError("network_error", "gone", code=code)
    transport.will_answer(sse(chunk({"content": "Hi"}), chunk(finish="stop"), done=False), lost)
    assert isinstance((await streamed(provider))[-1], StreamFinish)


async def test_f61_a_connection_lost_before_it_is_an_error(provider: OpenAIProvider, transport: FakeTransport) -> None:
    """F61: after exactly what had arrived."""
    transport.will_answer(
        sse(chunk({"content": "Hi"}), done=False), ProviderError("network_error", "gone", code="body_cut")
    )
    seen: list[StreamEvent] = []
    with pytest.raises(ProviderError) as caught:
        async for event in provider.stream_generate(chat(provider, stream=True)):
            seen.append(event)
    assert (caught.value.code, seen[1:]) == ("body_cut", [TextDelta("Hi")])


async def test_f66_text_that_shares_its_bytes_with_an_error_is_delivered_first(
    provider: OpenAIProvider, transport: FakeTransport
) -> None:
    """F66: and the error follows at once, without waiting for more bytes."""
    reply = transport.will_answer(
        sse(chunk({"content": "Hi"}), {"error": {"message": "boom", "code": 500}}), b"never read"
    )
    seen: list[StreamEvent] = []
    with pytest.raises(ProviderError) as caught:
        async for event in provider.stream_generate(chat(provider, stream=True)):
            seen.append(event)
    assert (caught.value.type, seen[1:]) == ("server_error", [TextDelta("Hi")])
    assert (reply.taken, reply.closed) == (1, True)


def vectors(*numbers: float, first: int = 0) -> dict[str, Any]:
    """An answer with one vector for each number, last one first."""
    data = [{"index": index + first, "embedding": [number, 0.5]} for index, number in enumerate(numbers)]
    return {"data": data[::-1], "model": "e", "usage": {"prompt_tokens": 2, "total_tokens": 2}}


async def test_embeddings_travel_in_batches_and_keep_their_order(
    provider: OpenAIProvider, transport: FakeTransport
) -> None:
    """Whatever order the server answers in; tokens add up."""
    transport.will_answer(vectors(1, 2))
    transport.will_answer(vectors(3))
    found = await provider.embed(texts("a", "b", "c", dimensions=2, user="u"))
    assert [vector[0] for vector in found] == [1.0, 2.0, 3.0]
    assert (found.dimensions, found.usage.input, found.model, found.provider) == (2, 4, "e", "openai")
    assert transport.bodies() == [
        {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 2, "user": "u"},
        {"model": "text-embedding-3-small", "input": ["c"], "dimensions": 2, "user": "u"},
    ]
    assert len(await provider.embed(texts())) == 0


async def test_vectors_without_a_number_are_in_the_order_of_the_texts(
    provider: OpenAIProvider, transport: FakeTransport
) -> None:
    """Missing or null: some servers number nothing."""
    transport.will_answer({"data": [{"index": None, "embedding": [1.0]}, {"embedding": [2.0]}]})
    assert [vector[0] for vector in await provider.embed(texts("a", "b"))] == [1.0, 2.0]


BAD_VECTORS: Mapping[str, Any] = {
    "one missing": vectors(1),
    "one too many": vectors(1, 2, 3),
    "twice the same index": {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
    "index out of range": vectors(1, 2, first=1),
    "different lengths": {"data": [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}]},
    "empty": {"data": [{"embedding": []}, {"embedding": []}]},
    "not numbers": {"data": [{"embedding": ["x"]}, {"embedding": ["y"]}]},
    "not finite": b'{"data": [{"embedding": [1e999]}, {"embedding": [1.0]}]}',
    "no vector": {"data": [{}, {}]},
    "bad base64": {"data": [{"embedding": "$$$"}, {"embedding": "$$$"}]},
    "half a float": {"data": [{"embedding": "AAA="}, {"embedding": "AAA="}]},
    "no data": {"object": "list"},
    "a web page": b"<html>",
}


@pytest.mark.parametrize("name", list(BAD_VECTORS))
async def test_wrong_vectors_are_never_returned(provider: OpenAIProvider, transport: FakeTransport, name: str) -> None:
    """A missing, doubled, odd or unreadable vector fails the call."""
    transport.will_answer(BAD_VECTORS[name])
    with pytest.raises(ProviderError) as caught:
        await provider.embed(texts("a", "b"))
    assert (caught.value.type, caught.value.provider) == ("protocol", "openai")


async def test_vectors_of_another_length_than_asked_for_are_refused(
    provider: OpenAIProvider, transport: FakeTransport
) -> None:
    """Also from one batch to the next."""
    transport.will_answer(vectors(1))
    with pytest.raises(ProviderError, match="2 dimensions instead of 256"):
        await provider.embed(texts("a", dimensions=256))
    transport.will_answer(vectors(1, 2))
    transport.will_answer({"data": [{"embedding": [1.0]}]})
    with pytest.raises(ProviderError, match="from one batch to the next"):
        await provider.embed(texts("a", "b", "c"))


async def test_packed_vectors_are_read(provider: OpenAIProvider, transport: FakeTransport) -> None:
    """Floats of four bytes in base64, as some servers send them."""
    transport.will_answer({"data": [{"embedding": "AACAPwAAAEA="}]})
    assert (await provider.embed(texts("a"))).vectors == ((1.0, 2.0),)


async def test_the_model_list_brings_facts(provider: OpenAIProvider, transport: FakeTransport) -> None:
    """Packaged ones, and the context window that a server tells."""
    transport.will_answer({"data": [{"id": "gpt-6-luna"}, {"id": "new", "context_length": 1000, "owned_by": "x"}]})
    models = await provider.list_models()
    assert [(model.name, model.facts.context_window) for model in models] == [("gpt-6-luna", 922000), ("new", 1000)]
    assert provider.facts("new").context_window == 1000
    call = transport.calls[0]
    assert (call.method, call.path, call.idempotent) == ("GET", "/models", True)
    assert call.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "body", "healthy"),
    [(200, {"data": [{"id": "m"}]}, True), (404, {}, True), (401, {}, False), (503, {}, False), (200, {"a": 1}, False)],
)
async def test_a_health_check_costs_no_tokens_and_never_raises(
    provider: OpenAIProvider, transport: FakeTransport, status: int, body: dict[str, Any], healthy: bool
) -> None:
    """It asks for the model list; a server without one is alive all the same."""
    transport.will_answer(body, status=status)
    report = await provider.health_check()
    assert report.healthy is healthy
    assert transport.calls[0].method == "GET"


def test_a_tuned_model_has_the_facts_of_its_base_but_no_price(provider: OpenAIProvider) -> None:
    """It is billed at a rate of its own: a budget must not count it as its base."""
    tuned, base = provider.facts("ft:gpt-4.1-mini-2025-04-14:acme::abc"), provider.facts("gpt-4.1-mini-2025-04-14")
    assert base.price is not None
    assert tuned.price is None
    assert (tuned.context_window, tuned.quirks) == (base.context_window, base.quirks)
