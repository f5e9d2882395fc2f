"""Which of OpenAI's two chat endpoints a request goes to, and both of them behind one dialect."""

from collections.abc import Mapping
from typing import Literal

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import AudioPart, ThinkingPart
from core.llm.common.wire import HttpCall
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.dialects.openai_event_stream import OpenAIEventDecoder
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses import OpenAIResponsesDialect
from core.llm.dialects.openai_thinking import will_think
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import LLMResponse

Endpoint = Literal["auto", "chat", "responses"]


def endpoint_of(request: ChatRequest, configured: Endpoint) -> Literal["chat", "responses"]:
    """The endpoint for *request*: as configured, else what is known of the model, else what the request needs.

    Only Responses hands reasoning out and takes it back, and only there some models call tools while they think. Only
    Chat Completions takes sound.
    """
    if configured != "auto":
        return configured
    facts = request.facts.quirks
    known = facts.get("endpoint", "auto")
    if known in {"chat", "responses"}:
        return "responses" if known == "responses" else "chat"
    if _has_sound(request):
        return "chat"
    if request.params.tools and facts.get("tools") == "without_thinking" and will_think(request):
        return "responses"
    return "responses" if _has_reasoning(request) else "chat"


class OpenAIEndpoints:
    """Both endpoints of one server; each request goes to one of them."""

    __slots__ = ("api", "chat", "responses")

    def __init__(self, quirks: OpenAIQuirks, api: Endpoint = "auto") -> None:
        self.api = api
        self.chat = OpenAIChatDialect(quirks)
        self.responses = OpenAIResponsesDialect(quirks)

    def of(self, request: ChatRequest) -> OpenAIChatDialect | OpenAIResponsesDialect:
        """The dialect of the endpoint that *request* goes to; always the same for the same request."""
        return self.responses if endpoint_of(request, self.api) == "responses" else self.chat

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*."""
        return self.of(request).encode(request)

    def decode(self, request: ChatRequest, status: int, headers: Mapping[str, str], body: bytes) -> LLMResponse:
        """The answer in *body*."""
        return self.of(request).decode(request, status, headers, body)

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> OpenAIEventDecoder:
        """A fresh decoder for one stream."""
        return self.of(request).decoder(request, headers)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with *status* stands for."""
        return self.chat.error(status, headers, body)


def _has_sound(request: ChatRequest) -> bool:
    return any(
        isinstance(part, AudioPart)
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    )


def _has_reasoning(request: ChatRequest) -> bool:
    """Whether the conversation holds reasoning of this provider, which only Responses takes back."""
    return any(
        isinstance(part, ThinkingPart) and part.redacted is not None and part.provider == request.provider
        for message in request.messages
        if message.role == "assistant" and not isinstance(message.content, str)
        for part in message.content
    )
