"""The OpenAI format for models in worker processes: chat, or a prompt where a model has a `prompt_format`."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote

from core.llm.common.wire import HttpCall
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.dialects.openai_completions import OpenAICompletionsDialect
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_stream import OpenAIStreamDecoder
from core.llm.providers.base.prompt_format import PromptFormat
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.local_calls import COMPLETE


class LocalDialect(OpenAIChatDialect):
    """The OpenAI format, addressed to one of several models."""

    __slots__ = ("_prompts",)

    def __init__(
        self, quirks: OpenAIQuirks, formats: Mapping[str, PromptFormat], *, schema_field: str | None = "json_schema"
    ) -> None:
        """*schema_field* is what holds the continuation of a prompt to a schema; `None`: nothing does."""
        super().__init__(quirks)
        self._prompts = {
            model: OpenAICompletionsDialect(quirks, wanted, COMPLETE, schema_field=schema_field)
            for model, wanted in formats.items()
        }

    def encode(self, request: ChatRequest) -> HttpCall:
        """The call for *request*."""
        prompts = self._prompts.get(request.model)
        call = super().encode(request) if prompts is None else prompts.encode(request)
        return replace(call, path=f"/{quote(request.model, safe='')}{call.path}")

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> OpenAIStreamDecoder:
        """A fresh decoder for one stream; the engine's whole answers are streams that somebody has collected."""
        prompts = self._prompts.get(request.model)
        return super().decoder(request, headers) if prompts is None else prompts.decoder(request, headers)
