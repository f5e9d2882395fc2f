"""The Messages wire format, spoken by Anthropic and by servers that imitate it."""

from collections.abc import Mapping

from core.llm.common.exceptions import ProviderError
from core.llm.common.wire import HttpCall
from core.llm.dialects.anthropic_decode import decode_answer, placed_id
from core.llm.dialects.anthropic_encode import betas_of, count_body, encode_body
from core.llm.dialects.anthropic_quirks import AnthropicQuirks
from core.llm.dialects.anthropic_stream import AnthropicStreamDecoder
from core.llm.dialects.errors import http_error
from core.llm.dialects.headers import JSON_HEADERS, STREAM_HEADERS
from core.llm.dialects.json import encode_json, parse_json
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import LLMResponse


class AnthropicDialect:
    """Messages with the quirks of one server."""

    __slots__ = ("quirks",)

    def __init__(self, quirks: AnthropicQuirks | None = None) -> None:
        self.quirks = quirks or AnthropicQuirks()

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*; adds to its warnings what the server or model does not take."""
        body = encode_json(encode_body(request, self.quirks))
        headers = self._headers(request, STREAM_HEADERS if request.stream else JSON_HEADERS)
        return HttpCall("POST", self.quirks.messages_path, body, headers, streaming=request.stream)

    def encode_count(self, request: ChatRequest, path: str) -> HttpCall:
        """The HTTP call that counts the prompt tokens of *request* at *path*; costs nothing."""
        body = encode_json(count_body(encode_body(request, self.quirks)))
        return HttpCall("POST", path, body, self._headers(request, JSON_HEADERS), idempotent=True)

    def decode(
        self,
        request: ChatRequest,
        status: int,  # noqa: ARG002 - part of the contract; errors do not come here
        headers: Mapping[str, str],
        body: bytes,
    ) -> LLMResponse:
        """The answer in *body*."""
        return decode_answer(request, self.quirks, headers, body)

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> AnthropicStreamDecoder:
        """A fresh decoder for one stream."""
        return AnthropicStreamDecoder(request, self.quirks, headers)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with *status* stands for."""
        error = http_error(status, headers, body)
        if error.request_id is None:
            try:
                return placed_id(error, parse_json(body))
            except ProviderError:
                return error
        return error

    def _headers(self, request: ChatRequest, usual: Mapping[str, str]) -> Mapping[str, str]:
        betas = betas_of(request, self.quirks)
        return {**usual, "anthropic-beta": betas} if betas else usual
