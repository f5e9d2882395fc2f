"""Messages in the OpenAI chat format."""

import re
from collections import deque
from typing import Any, Final

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.messages import (
    AudioPart,
    DocumentPart,
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResultPart,
)
from core.llm.dialects.left_out import report_bridge, report_foreign, report_name
from core.llm.dialects.media import data_url, media_type
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.stand_in import digest
from core.llm.dialects.tool_results import tool_results
from core.llm.providers.base.request import ChatRequest

_AUDIO_FORMATS: Final = {
    "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3",
    "audio/flac": "flac", "audio/ogg": "ogg", "audio/mp4": "m4a", "audio/aac": "aac",
}  # fmt: skip
_BRIDGE: Final = "OK"
_ID: Final = re.compile(r"[A-Za-z0-9_.:\-]+")
_ALNUM: Final = re.compile(r"[A-Za-z0-9]+")


def encode_messages(request: ChatRequest, quirks: OpenAIQuirks, system_role: str) -> list[dict[str, Any]]:
    """The conversation as the wire wants it; parts that have no form there are dropped with a warning or refused."""
    encoder: _Encoder | None = None
    out: list[dict[str, Any]] = []
    for message in request.messages:
        content, role = message.content, message.role
        if content.__class__ is str and message.name is None and not message.tool_calls and role != "tool":
            # Nearly all messages are that plain.
            out.append({"role": system_role if role == "system" else role, "content": content})
        else:
            if encoder is None:
                encoder = _Encoder(request, quirks, system_role, out)
            encoder.add(message)
    return _bridged(request, out) if quirks.bridge_results else out


def _bridged(request: ChatRequest, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """*messages* with a word of the assistant between a tool's result and whoever else speaks next."""
    out: list[dict[str, Any]] = []
    for message in messages:
        if out and out[-1]["role"] == "tool" and message["role"] not in {"tool", "assistant"}:
            out.append({"role": "assistant", "content": _BRIDGE})
            report_bridge(request, _BRIDGE)
        out.append(message)
    return out


class CallIds:
    """The ids of tool calls as one server takes them, the same on a call and on its result."""

    __slots__ = ("_length", "_longest", "_unnamed")

    def __init__(self, length: int | None, longest: int) -> None:
        self._length = length
        self._longest = longest
        self._unnamed: deque[str] = deque()

    def of_call(self, call: ToolCall, seed: str) -> str:
        """The id of *call*; made from *seed* where it has none."""
        identifier = call.id
        if not identifier:
            identifier = "call_" + digest(f"{seed}:{call.name}")
            self._unnamed.append(identifier)
        return self._fitting(identifier)

    def of_result(self, identifier: str) -> str:
        """The id of the call that a result with *identifier* answers: the next unnamed one where it is empty."""
        if not identifier and self._unnamed:
            identifier = self._unnamed.popleft()
        return self._fitting(identifier)

    def _fitting(self, identifier: str) -> str:
        """*identifier* where the server can take it, else a stable stand-in: ids may come from another provider."""
        if self._length is not None:
            fits = len(identifier) == self._length and _ALNUM.fullmatch(identifier)
            return identifier if fits else digest(identifier, self._length)
        if len(identifier) <= self._longest and _ID.fullmatch(identifier):
            return identifier
        return "call_" + digest(identifier)


class _Encoder:
    __slots__ = ("_ids", "_out", "_quirks", "_request", "_system_role")

    def __init__(self, request: ChatRequest, quirks: OpenAIQuirks, system_role: str, out: list[dict[str, Any]]) -> None:
        self._request = request
        self._quirks = quirks
        self._system_role = system_role
        self._out = out
        self._ids = CallIds(quirks.tool_id_length, quirks.tool_id_max)

    def add(self, message: Message) -> None:
        """Append what *message* is on the wire."""
        if message.content.__class__ is str and not message.tool_calls and message.role != "tool":
            self._add(message, message.content)
        elif message.role == "assistant":
            self._assistant(message)
        elif message.role == "tool":
            self._tool(message)
        else:
            self._user_or_system(message)

    def _add(self, message: Message, content: Any) -> None:
        role = self._system_role if message.role == "system" else message.role
        out: dict[str, Any] = {"role": role, "content": content}
        if message.name is not None:
            self._name(message, out)
        self._out.append(out)

    def _name(self, message: Message, out: dict[str, Any]) -> None:
        if "name" in self._quirks.rejects:
            report_name(self._request, message)
        else:
            out["name"] = message.name

    def _user_or_system(self, message: Message) -> None:
        content: list[dict[str, Any]] = []
        for part in message.parts:
            match part:
                case ToolResultPart():
                    # Results come before what the user says beside them: they answer the message before.
                    self._result(part.tool_call_id, part.content)
                case TextPart():
                    content.append({"type": "text", "text": part.text})
                case ImagePart():
                    content.append(_image(part))
                case DocumentPart():
                    content.append(self._document(part))
                case AudioPart():
                    content.append(self._audio(part))
                case _:
                    self._request.warn("dropped", "messages", f"a {part.type} part in a {message.role} message")
        if content:
            plain = all(part["type"] == "text" for part in content) and len(content) == 1
            self._add(message, content[0]["text"] if plain else content)

    def _assistant(self, message: Message) -> None:
        texts: list[str] = []
        thinking: list[ThinkingPart] = []
        calls: list[dict[str, Any]] = []
        for part in message.parts:
            match part:
                case TextPart():
                    texts.append(part.text)
                case ToolCall():
                    calls.append(self._call(part, len(calls)))
                case ThinkingPart():
                    thinking.append(part)
                case _:
                    self._request.warn("dropped", "messages", f"a {part.type} part in an assistant message")
        out: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
        if message.name is not None:
            self._name(message, out)
        if calls:
            out["tool_calls"] = calls
        own = [part for part in thinking if part.provider in {None, self._request.provider}]
        if len(own) < len(thinking):
            report_foreign(self._request)
        if own and self._quirks.replay_thinking == "reasoning_content":
            out["reasoning_content"] = "".join(part.text for part in own)
        elif own and self._quirks.replay_thinking == "reasoning_details":
            out["reasoning_details"] = [_detail(part) for part in own]
        self._out.append(out)

    def _call(self, call: ToolCall, ordinal: int) -> dict[str, Any]:
        out: dict[str, Any] = {
            "id": self._ids.of_call(call, f"{len(self._out)}:{ordinal}"),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments_json()},
        }
        own = call.provider in {None, self._request.provider}
        if call.signature and own and self._quirks.google_signatures:
            out["extra_content"] = {"google": {"thought_signature": call.signature}}
        return out

    def _tool(self, message: Message) -> None:
        results, beside = tool_results(self._request, message)
        if beside:
            self._request.warn("dropped", "messages", "only text can be sent as the result of a tool")
        for result in results:
            self._result(result.tool_call_id, result.content)

    def _result(self, identifier: str, content: str) -> None:
        self._out.append({"role": "tool", "tool_call_id": self._ids.of_result(identifier), "content": content})

    def _document(self, part: DocumentPart) -> dict[str, Any]:
        style = self._quirks.document
        kind = media_type(part) if part.data is not None else part.media_type or ""
        if part.data is not None and kind.startswith("text/"):
            text = part.data.decode("utf-8", "replace")
            return {"type": "text", "text": f"{part.name}:\n\n{text}" if part.name else text}
        if style == "none":
            raise UnsupportedFeature(f"{self._request.provider} takes no documents: send their text instead")
        if style == "document_url":
            return {"type": "document_url", "document_url": part.url or data_url(part)}
        if part.url is not None and not self._quirks.document_urls:
            raise UnsupportedFeature(f"{self._request.provider} takes no documents by URL here: pass the bytes")
        return {
            "type": "file",
            "file": {"filename": part.name or "document.pdf", "file_data": part.url or data_url(part)},
        }

    def _audio(self, part: AudioPart) -> dict[str, Any]:
        if not self._quirks.audio:
            raise UnsupportedFeature(f"{self._request.provider} takes no sound")
        if part.data is None:
            raise UnsupportedFeature(f"{self._request.provider} takes sound only as bytes, not by URL or path")
        kind = media_type(part)
        return {
            "type": "input_audio",
            "input_audio": {"data": part.base64(), "format": _AUDIO_FORMATS.get(kind, kind.rpartition("/")[2])},
        }


def _image(part: ImagePart) -> dict[str, Any]:
    image: dict[str, Any] = {"url": part.url or data_url(part)}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _detail(part: ThinkingPart) -> dict[str, Any]:
    if part.redacted is not None:
        return {"type": "reasoning.encrypted", "data": part.redacted}
    detail = {"type": "reasoning.text", "text": part.text}
    return detail if part.signature is None else {**detail, "signature": part.signature}
