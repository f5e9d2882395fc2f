"""Models whose template is replaced by a `prompt_format`: the prompt goes to `/api/generate`, marked as raw."""

from collections.abc import Mapping
from typing import Any

from core.llm.common.wire import HttpCall
from core.llm.dialects.json import encode_json, parse_object
from core.llm.providers.base.prompt_format import PromptFormat, refuse_features, render_prompt
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import StreamEvent
from core.llm.providers.ollama.wire import JSON_HEADERS, ChatDecoder, OllamaDialect


class OllamaPromptDialect(OllamaDialect):
    """As `OllamaDialect`, where a model has a prompt format of its own by another endpoint."""

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*."""
        wanted = self._config.prompt_format_of(request.model)
        return super().encode(request) if wanted is None else self._encode_prompt(request, wanted)

    def _encode_prompt(self, request: ChatRequest, wanted: PromptFormat) -> HttpCall:
        refuse_features(request)
        call = super().encode(request)
        body = parse_object(call.body) if isinstance(call.body, bytes) else {}
        for name in ("messages", "tools", "think"):
            body.pop(name, None)
        body |= {"prompt": render_prompt(request, wanted), "raw": True}
        if wanted.stop:
            options = body.setdefault("options", {})
            options["stop"] = list(dict.fromkeys((*options.get("stop", ()), *wanted.stop)))
        return HttpCall("POST", "/api/generate", encode_json(body), JSON_HEADERS, streaming=request.stream)

    def decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> ChatDecoder:
        """A fresh decoder for one stream."""
        if self._config.prompt_format_of(request.model) is None:
            return super().decoder(request, headers)
        return GenerateDecoder(request, headers, self._new_id)


class GenerateDecoder(ChatDecoder):
    """The lines of `/api/generate`: as those of a chat, with the text in `response`."""

    __slots__ = ()

    def line(self, source: dict[str, Any], events: list[StreamEvent]) -> None:
        """Add the events of one line to *events*."""
        if "response" in source:
            source["message"] = {"content": source.pop("response"), "thinking": source.get("thinking")}
        super().line(source, events)
