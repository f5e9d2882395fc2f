"""Conversations as input items of the Responses format.

A message is one item or several: its text, each tool call, each tool result and each piece of reasoning stand in one
flat list. Reasoning goes back exactly as it came, and only to where it came from. What the model said before a tool
call may carry a phase, which goes back with the text.
"""

from typing import Any, Final

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.messages import (
    DocumentPart,
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResultPart,
)
from core.llm.dialects.left_out import report_foreign, report_name
from core.llm.dialects.media import data_url, media_type
from core.llm.dialects.openai_messages import CallIds
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.tool_results import tool_results
from core.llm.providers.base.request import ChatRequest

PHASE: Final = "phase:"
"""How a thinking part without text says in which phase the text after it was written."""
_LONGEST_ID: Final = 64


def encode_input(request: ChatRequest, quirks: OpenAIQuirks, system_role: str) -> tuple[str, list[dict[str, Any]]]:
    """The instructions and the input items: system messages at the beginning are the instructions."""
    first = next((n for n, message in enumerate(request.messages) if not _is_instruction(message)), None)
    first = len(request.messages) - 1 if first is None else first
    for message in request.messages[:first]:
        report_name(request, message)
    instructions = "\n\n".join(message.text for message in request.messages[:first] if message.text)
    return instructions, _Items(request, quirks, system_role).of(request.messages[first:])


def _is_instruction(message: Message) -> bool:
    return message.role == "system" and all(isinstance(part, TextPart) for part in message.parts)


class _Items:
    __slots__ = ("_ids", "_items", "_quirks", "_request", "_system_role")

    def __init__(self, request: ChatRequest, quirks: OpenAIQuirks, system_role: str) -> None:
        self._request = request
        self._quirks = quirks
        self._system_role = system_role
        self._items: list[dict[str, Any]] = []
        self._ids = CallIds(quirks.tool_id_length, _LONGEST_ID)

    def of(self, messages: tuple[Message, ...]) -> list[dict[str, Any]]:
        for message in messages:
            report_name(self._request, message)
            match message.role:
                case "assistant":
                    self._assistant(message)
                case "tool":
                    self._tool(message)
                case _:
                    self._user_or_system(message)
        return self._items

    def _user_or_system(self, message: Message) -> None:
        content: list[dict[str, Any]] = []
        for part in message.parts:
            match part:
                case ToolResultPart():
                    # Results come before what the user says beside them: they answer the message before.
                    self._result(part.tool_call_id, part.content)
                case TextPart():
                    content.append({"type": "input_text", "text": part.text})
                case ImagePart():
                    content.append(_image(part))
                case DocumentPart():
                    content.append(self._document(part))
                case ToolCall() | ThinkingPart():
                    self._drop(f"a {part.type} part in a {message.role} message")
                case _:
                    raise UnsupportedFeature(
                        f"{self._request.provider} takes no {part.type} on Responses: set `api: chat` for it"
                    )
        if not content and message.parts:
            return
        plain = len(content) == 1 and content[0]["type"] == "input_text"
        role = self._system_role if message.role == "system" else message.role
        self._items.append({"role": role, "content": content[0]["text"] if plain else content or message.text})

    def _assistant(self, message: Message) -> None:
        begin = len(self._items)
        phase: str | None = None
        thought: list[ThinkingPart] = []
        for ordinal, part in enumerate(message.parts):
            if isinstance(part, ThinkingPart):
                if part.provider != self._request.provider:
                    report_foreign(self._request)
                    continue
                if (part.signature or "").startswith(PHASE):
                    phase = (part.signature or "").removeprefix(PHASE)
                    continue
                if thought and (part.signature is None or part.signature != thought[-1].signature):
                    self._think(thought)
                    thought = []
                thought.append(part)
                continue
            self._think(thought)
            thought = []
            match part:
                case TextPart():
                    self._say(part.text, phase, begin)
                    phase = None
                case ToolCall():
                    self._call(part, f"{begin}:{ordinal}")
                case _:
                    self._drop(f"a {part.type} part in an assistant message")
        # Reasoning that nothing came of is left out: the server wants the item that followed it.
        while len(self._items) > begin and self._items[-1].get("type") == "reasoning":
            self._items.pop()

    def _say(self, text: str, phase: str | None, begin: int) -> None:
        last = self._items[-1] if len(self._items) > begin else None
        if phase is None and last is not None and last.get("role") == "assistant":
            last["content"] += text
            return
        # OpenAI needs no type here; llama.cpp does.
        item: dict[str, Any] = {"type": "message", "role": "assistant", "content": text}
        if phase is not None:
            item["phase"] = phase
        self._items.append(item)

    def _think(self, parts: list[ThinkingPart]) -> None:
        if not parts:
            return
        item: dict[str, Any] = {"type": "reasoning"}
        if parts[0].signature:
            item["id"] = parts[0].signature
        texts = [part.text for part in parts if part.text]
        redacted = next((part.redacted for part in parts if part.redacted), None)
        if redacted is not None:
            item["summary"] = [{"type": "summary_text", "text": text} for text in texts]
            item["encrypted_content"] = redacted
        elif texts and self._quirks.replay_thinking != "none":
            item["summary"] = []
            item["content"] = [{"type": "reasoning_text", "text": text} for text in texts]
        else:
            return
        self._items.append(item)

    def _call(self, call: ToolCall, seed: str) -> None:
        self._items.append(
            {
                "type": "function_call",
                "call_id": self._ids.of_call(call, seed),
                "name": call.name,
                "arguments": call.arguments_json(),
            }
        )

    def _tool(self, message: Message) -> None:
        results, beside = tool_results(self._request, message)
        if beside:
            self._drop("only text can be sent as the result of a tool")
        for result in results:
            self._result(result.tool_call_id, result.content)

    def _result(self, identifier: str, content: str) -> None:
        self._items.append(
            {"type": "function_call_output", "call_id": self._ids.of_result(identifier), "output": content}
        )

    def _document(self, part: DocumentPart) -> dict[str, Any]:
        kind = media_type(part) if part.data is not None else part.media_type or ""
        if part.data is not None and kind.startswith("text/"):
            text = part.data.decode("utf-8", "replace")
            return {"type": "input_text", "text": f"{part.name}:\n\n{text}" if part.name else text}
        if self._quirks.document == "none":
            raise UnsupportedFeature(f"{self._request.provider} takes no documents: send their text instead")
        if part.url is not None:
            return {"type": "input_file", "file_url": part.url}
        return {"type": "input_file", "filename": part.name or "document.pdf", "file_data": data_url(part)}

    def _drop(self, what: str) -> None:
        self._request.warn("dropped", "messages", what)


def _image(part: ImagePart) -> dict[str, Any]:
    return {"type": "input_image", "image_url": part.url or data_url(part), "detail": part.detail or "auto"}
