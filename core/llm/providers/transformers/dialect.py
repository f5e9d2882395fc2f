"""What the engine is sent: the OpenAI format, less what this engine or this model cannot do, each with a warning."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.messages import ImagePart
from core.llm.common.wire import HttpCall
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_stream import OpenAIStreamDecoder
from core.llm.providers.base.prompt_format import PromptFormat
from core.llm.providers.base.request import ChatRequest, NamedTool
from core.llm.providers.base.response import LLMResponse
from core.llm.providers.local_calls import CHAT, EMBED
from core.llm.providers.local_dialect import LocalDialect
from core.llm.providers.transformers.config import known_raw_field, raw_fields

_FORCED: Final = "required"


def quirks_of(*, schemas: bool, thinks: bool) -> OpenAIQuirks:
    """The OpenAI format as the engine takes it: with or without what holds to schemas, and a switch for thinking."""
    return OpenAIQuirks(
        chat_path=CHAT,
        embeddings_path=EMBED,
        thinking="chat_template" if thinks else "none",
        structured="json_schema" if schemas else "none",
        document="none",
        audio=False,
        prefill="continue_final_message",
        think_tags=True,
        rejects=frozenset({"user"}),
    )


class TransformersDialect:
    """The format for each model, which differs by what its chat template knows."""

    __slots__ = ("_plain", "_schemas", "_thinking", "_thinks")

    def __init__(self, formats: Mapping[str, PromptFormat], thinks: Callable[[str], bool], *, schemas: bool) -> None:
        """*thinks* tells whether the template of a model has a switch for thinking."""
        field = "json_schema" if schemas else None
        self._plain = LocalDialect(quirks_of(schemas=schemas, thinks=False), formats, schema_field=field)
        self._thinking = LocalDialect(quirks_of(schemas=schemas, thinks=True), formats, schema_field=field)
        self._thinks = thinks
        self._schemas = schemas

    def encode(self, request: ChatRequest) -> HttpCall:
        """The call for *request*.

        Raises:
            UnsupportedFeature: it holds what is no text.
        """
        for message in request.messages:
            if not isinstance(message.content, str) and any(isinstance(part, ImagePart) for part in message.content):
                self._refuse_media(request)
        return self._of(request).encode(self._takable(request))

    def decode(self, request: ChatRequest, status: int, headers: Mapping[str, str], body: bytes) -> LLMResponse:
        """The answer in *body*."""
        return self._of(request).decode(request, status, headers, body)

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> OpenAIStreamDecoder:
        """A fresh decoder for one stream."""
        return self._of(request).decoder(request, headers)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with *status* stands for."""
        return self._plain.error(status, headers, body)

    def _of(self, request: ChatRequest) -> LocalDialect:
        return self._thinking if self._thinks(request.model) else self._plain

    def _refuse_media(self, request: ChatRequest) -> None:
        raise UnsupportedFeature(f"{request.provider}/{request.model} takes text only")

    def _takable(self, request: ChatRequest) -> ChatRequest:
        """*request* without what the engine does not know; each such thing is reported."""
        extra, params = request.extra, request.params
        unknown = [name for name, value in extra.items() if value is not None and not known_raw_field(name, value)]
        for name in unknown:
            known = ", ".join(sorted(raw_fields()))
            request.warn("dropped", name, f"{request.provider} takes no raw field {name!r} like that: it knows {known}")
        if unknown:
            extra = {name: value for name, value in extra.items() if name not in unknown}
        changed: dict[str, Any] = {}
        if not self._schemas and (params.tool_choice == _FORCED or isinstance(params.tool_choice, NamedTool)):
            request.warn(
                "dropped", "tool_choice", "a model can be made to call a tool only where llguidance is installed"
            )
            changed["tool_choice"] = None
        if not unknown and not changed:
            return request
        # The warnings stay one list: what is reported further on belongs to the same call.
        return replace(request, extra=extra, params=params.model_copy(update=changed) if changed else params)
