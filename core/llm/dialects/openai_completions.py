"""The OpenAI format's older endpoint, `/completions`: one prompt in, its continuation out.

For models and servers without a chat template. The prompt is the conversation in a `PromptFormat`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.wire import HttpCall
from core.llm.dialects.described_schema import describe_schema
from core.llm.dialects.errors import http_error
from core.llm.dialects.event_decoder import events_of
from core.llm.dialects.headers import JSON_HEADERS, STREAM_HEADERS
from core.llm.dialects.json import encode_json, schema_error
from core.llm.dialects.json_body import json_answer
from core.llm.dialects.openai_decode import decode_answer
from core.llm.dialects.openai_encode import (
    add_raw_fields,
    encode_sampling,
    encode_schema,
)
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_stream import OpenAIStreamDecoder
from core.llm.providers.base.prompt_format import PromptFormat, refuse_features, render_prompt
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import LLMResponse, StreamEvent

_FIELDS: Final = ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "user")


@dataclass(frozen=True, slots=True)
class OpenAICompletionsDialect:
    """The endpoint with the quirks of one server."""

    quirks: OpenAIQuirks
    wanted: PromptFormat
    path: str = "/completions"
    schema_field: str | None = None
    """The body field that holds the model to a JSON schema; `None`: the schema is described in words."""

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*; adds to its warnings what cannot be expressed.

        Raises:
            ProviderError: `invalid_request`, code `unsupported`: the request needs what no prompt can carry.
        """
        refuse_features(request)
        request.warn_of_ending()
        params = request.params
        body: dict[str, Any] = {"model": request.model}
        preface = "" if params.response_format is None else self._structured(request, body)
        body["prompt"] = render_prompt(request, self.wanted, preface=preface)
        if request.stream:
            body["stream"] = True
            if self.quirks.stream_usage:
                body["stream_options"] = {"include_usage": True}
        body.update(self.quirks.extra)
        if params.max_tokens is not None:
            body["max_tokens"] = params.max_tokens
        encode_sampling(request, self.quirks, body, _FIELDS, thinks=False)
        stop = dict.fromkeys((*(params.stop or ()), *self.wanted.stop))
        if stop:
            body["stop"] = list(stop)
        add_raw_fields(request, body)
        headers = STREAM_HEADERS if request.stream else JSON_HEADERS
        return HttpCall("POST", self.path, encode_json(body), headers, streaming=request.stream)

    def _structured(self, request: ChatRequest, body: dict[str, Any]) -> str:
        """Hold the model to the schema, or return the words that ask for it."""
        wanted = request.params.response_format
        schema = None if wanted is None else wanted.schema
        if self.schema_field is not None:
            body[self.schema_field] = {"type": "object"}
            if wanted is not None and schema is not None:
                body[self.schema_field] = encode_schema(request, self.quirks, wanted, schema)["schema"]
            return ""
        request.warn("emulated", "response_format", "a plain prompt has no JSON mode: the schema was only described")
        return describe_schema(schema)

    def decode(
        self,
        request: ChatRequest,
        status: int,  # noqa: ARG002 - part of the contract; errors do not come here
        headers: Mapping[str, str],
        body: bytes,
    ) -> LLMResponse:
        """The answer in *body*."""
        return _decode(request, self.quirks, headers, body)

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> "OpenAICompletionsDecoder":
        """A fresh decoder for one stream."""
        return OpenAICompletionsDecoder(request, self.quirks, headers)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with *status* stands for."""
        return http_error(status, headers, body)


class OpenAICompletionsDecoder(OpenAIStreamDecoder):
    """One stream of pieces of text. Ends as a chat stream does."""

    __slots__ = ()

    def _whole(self, body: bytes, events: list[StreamEvent]) -> None:
        events.extend(events_of(_decode(self._request, self._quirks, self._headers, body)))

    def _said(self, choice: dict[str, Any]) -> Any:
        """What *choice* adds to the answer: here it is a text."""
        text = choice.get("text")
        if text is None:
            return super()._said(choice)
        if text.__class__ is not str:
            raise schema_error("the text of a choice is no string")
        return {"content": text}


def _decode(request: ChatRequest, quirks: OpenAIQuirks, headers: Mapping[str, str], body: bytes) -> LLMResponse:
    answer = json_answer(body, headers)
    choices = answer.get("choices")
    if isinstance(choices, list):
        chat = [_as_chat(choice) if isinstance(choice, dict) else choice for choice in choices]
        body = encode_json({**answer, "choices": chat})
    response = decode_answer(request, quirks, headers, body)
    response.raw = answer
    return response


def _as_chat(choice: dict[str, Any]) -> dict[str, Any]:
    """*choice* as the chat endpoint writes it."""
    text = choice.get("text")
    if text is None and choice.get("error"):
        return choice
    if text.__class__ is not str:
        raise schema_error("a choice has no text")
    return {**choice, "message": {"content": text}}
