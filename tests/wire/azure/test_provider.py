"""Where the Azure provider sends what, with which credential, and how it reads what Azure says."""

from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.dialects.retry_hints import retry_after
from core.llm.providers.azure_openai.config import AzureOpenAIConfig
from core.llm.providers.azure_openai.provider import AzureOpenAIProvider
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.testing import provider_services
from tests.unit.dialects.chat import answer, chunk, sse
from tests.wire.openai.fake_transport import FakeTransport

TOOL = {"name": "f", "parameters": {"type": "object", "properties": {}}}
RESPONSE = {"object": "response", "status": "completed", "model": "m", "output": []}


def provider(transport: FakeTransport, **fields: Any) -> AzureOpenAIProvider:
    """A provider of the resource acme on *transport*."""
    models = {"my chat": {"base_model": "gpt-5.4-mini"}}
    config = AzureOpenAIConfig.model_validate({"resource": "acme", "api_key": "k-1", "models": models, **fields})
    made = AzureOpenAIProvider(config, provider_services("azure"))
    made.transport = transport
    return made


def chat(made: AzureOpenAIProvider, **params: Any) -> ChatRequest:
    """A request to the deployment."""
    asked = LLMRequest(messages="u", **params)
    stream = params.pop("stream", False)
    return ChatRequest(
        "azure", "my chat", asked, asked.messages, made.facts("my chat"), PhaseLimits(), api_key="k-1", stream=stream
    )


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, ["/chat/completions", "/responses", "/embeddings", "/models"]),
        (
            {"api_version": "preview"},
            [f"{path}?api-version=preview" for path in ("/chat/completions", "/responses", "/embeddings", "/models")],
        ),
        (
            {"api_version": "2024-10-21"},
            [
                "/deployments/my%20chat/chat/completions?api-version=2024-10-21",
                "/responses?api-version=2024-10-21",
                "/deployments/my%20chat/embeddings?api-version=2024-10-21",
                "/models?api-version=2024-10-21",
            ],
        ),
    ],
)
async def test_every_endpoint_is_at_its_address(fields: dict[str, Any], paths: list[str]) -> None:
    """v1 knows the deployment from the body; before that it was a part of the path, but not for Responses."""
    transport = FakeTransport()
    made = provider(transport, **fields)
    for body in (answer(), RESPONSE, {"data": [{"embedding": [1.0]}]}, {"data": []}):
        transport.will_answer(body)
    await made.generate(chat(made))
    await made.generate(chat(made, tools=[TOOL], thinking="low"))
    await made.embed(EmbeddingRequest("azure", "my chat", ("a",), PhaseLimits(), api_key="k-1"))
    await made.list_models()
    assert [call.path for call in transport.calls] == paths
    assert all(call.headers["api-key"] == "k-1" for call in transport.calls)
    assert not any("authorization" in call.headers for call in transport.calls)
    assert {body.get("model") for body in transport.bodies()} == {"my chat"}


async def test_chunks_of_the_content_filter_are_no_output() -> None:
    """The first one has no choices and no model, later ones have results beside the text."""
    transport = FakeTransport()
    made = provider(transport)
    first = {"id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    filtered = {
        "index": 0,
        "delta": {},
        "finish_reason": None,
        "content_filter_results": {},
        "content_filter_offsets": {},
    }
    reply = transport.will_answer(
        sse(first, done=False), sse(chunk({"content": "Hi"}), {"choices": [filtered]}, chunk(finish="stop"))
    )
    events = [event async for event in made.stream_generate(chat(made))]
    assert "".join(event.text for event in events) == "Hi"
    assert reply.output_at == 2


async def test_a_blocked_prompt_is_a_refusal_and_not_a_bad_request() -> None:
    """With what the filter found; it is never tried again."""
    transport = FakeTransport()
    made = provider(transport)
    results = {"violence": {"filtered": True, "severity": "high"}, "hate": {"filtered": False, "severity": "safe"},
               "jailbreak": {"filtered": True, "detected": True}}  # fmt: skip
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": results}
    error = {"message": "The response was filtered", "code": "content_filter", "status": 400, "innererror": inner}
    transport.will_answer({"error": error}, status=400)
    with pytest.raises(ProviderError) as caught:
        await made.generate(chat(made))
    assert (caught.value.type, caught.value.code, caught.value.retryable) == ("content_filter", "content_filter", False)
    assert "found: violence: high, jailbreak" in str(caught.value)


async def test_an_answer_cut_by_the_filter_says_so() -> None:
    """What had been written stays; a filter that leaves nothing is an error."""
    transport = FakeTransport()
    made = provider(transport)
    transport.will_answer(answer(finish="content_filter"))
    assert (await made.generate(chat(made))).finish_reason.unified == "content_filter"
    transport.will_answer(answer({"role": "assistant"}, finish="content_filter"))
    with pytest.raises(ProviderError) as caught:
        await made.generate(chat(made))
    assert caught.value.type == "content_filter"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(408, b"The operation was timeout.", "timeout"), (413, b"Request body too large", "invalid_request")],
)
async def test_plain_text_errors_keep_their_words(status: int, body: bytes, kind: str) -> None:
    """The gateway in front of the models writes no JSON."""
    transport = FakeTransport()
    made = provider(transport)
    transport.will_answer(body, status=status)
    with pytest.raises(ProviderError) as caught:
        await made.generate(chat(made))
    assert caught.value.type == kind
    assert body.decode().rstrip(".") in str(caught.value)


def test_f30_limits_of_minus_one_are_no_hint() -> None:
    """They mean that this limit does not exist."""
    headers = {
        "x-ratelimit-limit-tokens": "-1",
        "x-ratelimit-remaining-tokens": "-1",
        "x-ratelimit-reset-tokens": "30",
    }
    assert retry_after(headers) is None
    assert retry_after({**headers, "retry-after-ms": "250"}) == 0.25
