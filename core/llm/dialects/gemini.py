"""The `generateContent` wire format, spoken by the Gemini API and by Vertex AI."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.wire import HttpCall
from core.llm.dialects.gemini_encode import encode_body, encode_bytes
from core.llm.dialects.gemini_endpoint import GeminiEndpoint
from core.llm.dialects.gemini_errors import gemini_http_error
from core.llm.dialects.gemini_stream import GeminiStreamDecoder, decode_answer, json_chunks
from core.llm.dialects.headers import JSON_HEADERS, STREAM_HEADERS
from core.llm.dialects.json import encode_json, schema_error
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import LLMResponse

# What counting does not take, or what does not count.
_NOT_COUNTED: Final = ("safetySettings",)


@dataclass(frozen=True, slots=True)
class GeminiDialect:
    """`generateContent` at one endpoint."""

    endpoint: GeminiEndpoint = field(default_factory=GeminiEndpoint)
    safety: Mapping[str, str] = field(default_factory=dict)
    """Thresholds by category, sent with every request."""

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*; adds to its warnings what the model does not take."""
        method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        return HttpCall(
            "POST",
            self.endpoint.path(request.model, method),
            encode_bytes(request, self.safety),
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
        return decode_answer(request, headers, body)

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> GeminiStreamDecoder:
        """A fresh decoder for one stream."""
        return GeminiStreamDecoder(request, headers)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with *status* stands for."""
        return gemini_http_error(status, headers, body)

    def encode_count(self, request: ChatRequest) -> HttpCall:
        """The HTTP call that counts the prompt tokens of *request*, tools and system instruction included."""
        body = encode_body(request)
        for name in _NOT_COUNTED:
            body.pop(name, None)
        if not self.endpoint.vertex:
            # Only inside this field are tools and the system instruction counted.
            body = {"generateContentRequest": {"model": self.endpoint.resource(request.model), **body}}
        path = self.endpoint.path(request.model, "countTokens")
        return HttpCall("POST", path, encode_json(body), JSON_HEADERS, idempotent=True)


def decode_count(headers: Mapping[str, str], body: bytes) -> int:
    """The number of tokens in an answer of `countTokens`.

    Raises:
        ProviderError: it holds none.
    """
    # A field of value zero is left out on this wire.
    total = json_chunks(body, headers)[0].get("totalTokens", 0)
    if type(total) is not int or not 0 <= total < 10**9:
        raise schema_error("it has no number of tokens")
    return total
