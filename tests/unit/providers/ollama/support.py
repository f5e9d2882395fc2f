"""Requests and decoders for the tests of the Ollama dialect."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts, PhaseLimits
from core.llm.providers.base.request import ChatRequest, LLMRequest
from core.llm.providers.base.response import StreamEvent
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.wire import ChatDecoder, OllamaDialect

NDJSON = {"content-type": "application/x-ndjson"}


def chat_request(
    messages: Any = "hi",
    *,
    model: str = "tiny",
    facts: ModelFacts | None = None,
    stream: bool = False,
    raw: dict[str, Any] | None = None,
    api_key: str | None = None,
    **params: Any,
) -> ChatRequest:
    """A request as the pipeline hands it to the provider called `ollama`."""
    asked = LLMRequest(messages=messages, **params)
    return ChatRequest(
        provider="ollama",
        model=model,
        params=asked,
        messages=asked.messages,
        facts=facts or ModelFacts(),
        limits=PhaseLimits(connect=5, first_token=10, idle=10, progress=10),
        api_key=api_key,
        stream=stream,
        extra=raw or {},
    )


def dialect(**config: Any) -> OllamaDialect:
    """The dialect of a server with *config*; ids are call_0, call_1 …"""
    numbers = count()
    return OllamaDialect(OllamaConfig(**config), lambda: f"call_{next(numbers)}")


def decoder(request: ChatRequest | None = None, headers: dict[str, str] | None = None) -> ChatDecoder:
    return dialect().decoder(request or chat_request(stream=True), headers or NDJSON)


def run(chunks: Sequence[bytes], request: ChatRequest | None = None) -> tuple[list[StreamEvent], ProviderError | None]:
    """What a stream in these pieces amounts to: its events, and the error it ended with."""
    events: list[StreamEvent] = []
    machine = decoder(request)
    try:
        for chunk in chunks:
            events += machine.feed(chunk)
            if machine.done:
                break
        events += machine.end()
    except ProviderError as error:
        return events, error
    return events, None
