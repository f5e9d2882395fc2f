"""The Responses wire format: OpenAI's second chat endpoint, which some servers of others speak as well."""

from collections.abc import Mapping

from core.llm.common.exceptions import ProviderError
from core.llm.common.wire import HttpCall
from core.llm.dialects.errors import http_error
from core.llm.dialects.headers import JSON_HEADERS, STREAM_HEADERS
from core.llm.dialects.json import encode_json
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses_decode import decode_response
from core.llm.dialects.openai_responses_encode import encode_responses_body
from core.llm.dialects.openai_responses_stream import ResponsesStreamDecoder
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import LLMResponse


class OpenAIResponsesDialect:
    """Responses with the quirks of one server."""

    __slots__ = ("quirks",)

    def __init__(self, quirks: OpenAIQuirks | None = None) -> None:
        self.quirks = quirks or OpenAIQuirks()

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*; adds to its warnings what the server or model does not take."""
        return HttpCall(
            "POST",
            self.quirks.responses_path,
            encode_json(encode_responses_body(request, self.quirks)),
            STREAM_HEADERS if request.stream else JSON_HEADERS,
            streaming=request.stream,
        )

    def decode(
        self,
        request: ChatRequest,
        status: int,  # noqa: ARG002 - part of the contract; errors do not come here
        headers: Mapping[str, str],
        body: bytes,
    ) -> LLMResponse:
        """The answer in *body*."""
        return decode_response(request, headers, body)

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> ResponsesStreamDecoder:
        """A fresh decoder for one stream."""
        return ResponsesStreamDecoder(request, self.quirks, headers)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with *status* stands for."""
        return http_error(status, headers, body)
