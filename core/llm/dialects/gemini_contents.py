"""Conversations in the Gemini format.

There are two roles. What a tool returned is the user's turn and follows the calls at once, one response for each call
in the order of the calls. A thought signature returns in the part it came in: that of a text is kept as a thinking part
without words right behind the text, that of a call in the call itself.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic_core import from_json

from core.llm.common.exceptions import RequestError, UnsupportedFeature
from core.llm.common.messages import (
    ImagePart,
    MediaPart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResultPart,
)
from core.llm.dialects.left_out import report_detail, report_foreign, report_name
from core.llm.dialects.media import media_type
from core.llm.dialects.tool_results import tool_results
from core.llm.providers.base.request import ChatRequest

GENERATED_ID: Final = "gcall_"
"""What our own ids of calls begin with; the provider gave none, and gets none back."""

_NO_SIGNATURE: Final = "skip_thought_signature_validator"
"""What Google documents for calls that another model made, where a signature is demanded."""

Content = dict[str, Any]


def encode_contents(request: ChatRequest) -> tuple[list[Content], list[dict[str, Any]]]:
    """The turns of the conversation, and the parts of the system instruction.

    Raises:
        RequestError: a tool result answers no call.
        UnsupportedFeature: a part cannot be sent.
    """
    return _Encoder(request).run()


class _Encoder:
    __slots__ = ("_demands", "_names", "_order", "_out", "_request", "_results", "_system", "_unnamed")

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._demands = bool(request.facts.quirks.get("signatures"))
        self._out: list[Content] = []
        self._system: list[dict[str, Any]] = []
        self._names: dict[str, str] = {}
        self._order: list[str] = []
        self._unnamed: list[str] = []
        self._results: list[tuple[str, dict[str, Any]]] = []

    def run(self) -> tuple[list[Content], list[dict[str, Any]]]:
        for message in self._request.messages:
            report_name(self._request, message)
            if message.role == "system":
                self._instruct(message)
            elif message.role == "assistant":
                self._flush_results()
                self._model(message)
            elif message.role == "tool":
                self._tool(message)
            else:
                self._user(message)
        self._flush_results()
        if not self._out and self._system:
            self._request.warn("renamed", "messages", "a conversation of system messages only: sent as the user's")
            self._out, self._system = [{"role": "user", "parts": self._system}], []
        return self._out, self._system

    def _instruct(self, message: Message) -> None:
        if self._out or self._results:
            self._request.warn(
                "other", "messages", "a system message inside the conversation was moved to its beginning"
            )
        for part in message.parts:
            if isinstance(part, TextPart):
                self._system.append({"text": part.text})
            else:
                self._request.warn("dropped", "messages", f"a {part.type} part in a system message")

    def _user(self, message: Message) -> None:
        if message.content.__class__ is str:
            self._flush_results()
            self._out.append({"role": "user", "parts": [{"text": message.content}]})
            return
        parts: list[dict[str, Any]] = []
        for part in message.parts:
            match part:
                case ToolResultPart():
                    self._result(part)
                case TextPart():
                    parts.append({"text": part.text})
                case MediaPart():
                    parts.append(self._media(part))
                case _:
                    self._request.warn("dropped", "messages", f"a {part.type} part in a user message")
        self._flush_results()
        if parts:
            self._out.append({"role": "user", "parts": parts})

    def _model(self, message: Message) -> None:
        parts: list[dict[str, Any]] = []
        self._order, self._unnamed = [], []
        previous: Part | None = None
        for part in message.parts:
            match part:
                case TextPart():
                    parts.append({"text": part.text})
                case ThinkingPart():
                    self._think(part, previous, parts)
                case ToolCall():
                    parts.append(self._call(part))
                case _:
                    self._request.warn("dropped", "messages", f"a {part.type} part in an assistant message")
            previous = part
        first = next((part for part in parts if "functionCall" in part), None) if self._demands else None
        if first is not None:
            first.setdefault("thoughtSignature", _NO_SIGNATURE)
        if parts:
            self._out.append({"role": "model", "parts": parts})

    def _think(self, part: ThinkingPart, previous: Part | None, parts: list[dict[str, Any]]) -> None:
        if not self._own(part.provider):
            report_foreign(self._request)
            return
        if part.text:
            wire: dict[str, Any] = {"text": part.text, "thought": True}
            if part.signature:
                wire["thoughtSignature"] = part.signature
            parts.append(wire)
        elif part.signature and isinstance(previous, TextPart):
            parts[-1]["thoughtSignature"] = part.signature
        elif part.signature:
            parts.append({"text": "", "thoughtSignature": part.signature})

    def _call(self, call: ToolCall) -> dict[str, Any]:
        if call.arguments_error is not None:
            self._request.warn("dropped", "messages", f"the arguments of {call.name}, which are no JSON object")
        wire: dict[str, Any] = {"name": call.name, "args": dict(call.arguments)}
        identifier = call.id
        if not identifier:
            identifier = f"{GENERATED_ID}{len(self._out)}_{len(self._order)}"
            self._unnamed.append(identifier)
        elif not identifier.startswith(GENERATED_ID):
            wire["id"] = identifier
        self._names[identifier] = call.name
        self._order.append(identifier)
        part: dict[str, Any] = {"functionCall": wire}
        if call.signature and self._own(call.provider):
            part["thoughtSignature"] = call.signature
        return part

    def _own(self, provider: str | None) -> bool:
        return provider is None or provider == self._request.provider

    def _tool(self, message: Message) -> None:
        results, beside = tool_results(self._request, message)
        media = [part for part in beside if isinstance(part, MediaPart)]
        for result in results:
            self._result(result, media)

    def _result(self, result: ToolResultPart, media: Sequence[MediaPart] = ()) -> None:
        identifier = result.tool_call_id or (self._unnamed.pop(0) if self._unnamed else "")
        name = self._names.get(identifier) or result.name
        if not name:
            raise RequestError(
                f"the tool result {identifier!r} answers no call of this conversation, and names no tool"
            )
        wire: dict[str, Any] = {"name": name, "response": _response(result)}
        if identifier and not identifier.startswith(GENERATED_ID):
            wire["id"] = identifier
        if media:
            wire["parts"] = [self._media(part) for part in media]
        self._results.append((identifier, {"functionResponse": wire}))

    def _media(self, part: MediaPart) -> dict[str, Any]:
        if isinstance(part, ImagePart):
            report_detail(self._request, part)
        return _media(part)

    def _flush_results(self) -> None:
        if not self._results:
            return
        place = {identifier: number for number, identifier in enumerate(self._order)}
        ordered: Iterable[tuple[str, dict[str, Any]]] = sorted(
            self._results, key=lambda result: place.get(result[0], len(place))
        )
        self._out.append({"role": "user", "parts": [part for _, part in ordered]})
        self._results = []


def _response(result: ToolResultPart) -> dict[str, Any]:
    """What a tool returned, as the object that is wanted here: itself, or under `output` or `error`."""
    text = result.content
    if result.is_error:
        return {"error": text}
    if text.lstrip()[:1] == "{":
        try:
            value = from_json(text, allow_inf_nan=False)
        except ValueError:
            return {"output": text}
        if isinstance(value, dict):
            return value
    return {"output": text}


def _media(part: MediaPart) -> dict[str, Any]:
    kind = media_type(part)
    if part.data is not None:
        return {"inlineData": {"mimeType": kind, "data": part.base64()}}
    if part.url is None:
        raise UnsupportedFeature(f"the file {part.path!r} was not loaded: pass its bytes")
    return {"fileData": {"mimeType": kind, "fileUri": part.url}}
