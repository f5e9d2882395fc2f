"""Chat Completions as LM Studio takes them."""

from typing import Any, Final

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.messages import ImagePart, Message
from core.llm.common.wire import HttpCall
from core.llm.dialects.headers import JSON_HEADERS, STREAM_HEADERS
from core.llm.dialects.json import encode_json
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.dialects.openai_encode import encode_body
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.request import ChatRequest, NamedTool
from core.llm.providers.lm_studio.config import LMStudioConfig

QUIRKS: Final = OpenAIQuirks(
    chat_path="/v1/chat/completions",
    embeddings_path="/v1/embeddings",
    models_path="/v1/models",
    grammar_schema=True,
    document="none",
    audio=False,
    rejects=frozenset({"user", "parallel_tool_calls"}),
)
_ANY_OBJECT: Final = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
}


class LMStudioDialect(OpenAIChatDialect):
    """The plain format, without what LM Studio refuses, and with its time to live."""

    __slots__ = ("_config",)

    def __init__(self, config: LMStudioConfig) -> None:
        super().__init__(QUIRKS)
        self._config = config

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*.

        Raises:
            UnsupportedFeature: a picture by URL: LM Studio fetches nothing.
        """
        for message in request.messages:
            _check_pictures(message)
        body = encode_body(request, QUIRKS)
        if body.get("response_format") == {"type": "json_object"}:
            # It knows schemas only; this one means the same.
            body["response_format"] = _ANY_OBJECT
        if isinstance(request.params.tool_choice, NamedTool) and "tools" in body:
            _force(request, request.params.tool_choice.name, body)
        ttl = self._config.ttl_of(request.model)
        if ttl is not None:
            body.setdefault("ttl", ttl)
        headers = STREAM_HEADERS if request.stream else JSON_HEADERS
        return HttpCall("POST", QUIRKS.chat_path, encode_json(body), headers, streaming=request.stream)


def _check_pictures(message: Message) -> None:
    if message.content.__class__ is str:
        return
    for part in message.parts:
        if isinstance(part, ImagePart) and part.url is not None and not part.url.startswith("data:"):
            raise UnsupportedFeature("LM Studio takes no pictures by URL: pass the bytes or a path")


def _force(request: ChatRequest, name: str, body: dict[str, Any]) -> None:
    # `tool_choice` must be a word here; with one tool to choose from, `required` forces just that one.
    body["tools"] = [tool for tool in body["tools"] if tool["function"]["name"] == name]
    if not body["tools"]:
        raise UnsupportedFeature(f"tool_choice names {name!r}, which is not among the tools of the request")
    body["tool_choice"] = "required"
    if len(request.params.tools or ()) > 1:
        request.warn("emulated", "tool_choice", f"LM Studio cannot force one of several tools: only {name!r} was sent")
