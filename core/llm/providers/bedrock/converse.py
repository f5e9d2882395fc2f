"""The Converse wire format: one shape for every chat model on Bedrock."""

from collections.abc import Mapping
from typing import Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.wire import HttpCall
from core.llm.dialects.headers import JSON_HEADERS
from core.llm.dialects.json import encode_json
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import LLMResponse
from core.llm.providers.bedrock.config import BedrockConfig
from core.llm.providers.bedrock.decode import decode_answer
from core.llm.providers.bedrock.encode import encode_body
from core.llm.providers.bedrock.errors import error_from_http
from core.llm.providers.bedrock.naming import model_path
from core.llm.providers.bedrock.stream import EVENT_STREAM, ConverseStreamDecoder

_STREAM_HEADERS: Final = {**JSON_HEADERS, "accept": EVENT_STREAM}


class ConverseDialect:
    """Converse and ConverseStream."""

    __slots__ = ("_config",)

    def __init__(self, config: BedrockConfig) -> None:
        self._config = config

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*; adds to its warnings what the service or model does not take."""
        return HttpCall(
            "POST",
            model_path(request.model, "converse-stream" if request.stream else "converse"),
            encode_json(encode_body(request, self._config)),
            _STREAM_HEADERS if request.stream else JSON_HEADERS,
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

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> ConverseStreamDecoder:
        """A fresh decoder for one stream."""
        return ConverseStreamDecoder(request, headers)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with *status* stands for."""
        return error_from_http(status, headers, body)
