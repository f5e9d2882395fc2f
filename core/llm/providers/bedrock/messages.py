"""The conversation in Converse's terms: system blocks, and user and assistant turns of content blocks.

Bedrock wants the two roles in turn, results of tools in the user turn right after the calls, and no blank texts.
"""

from collections import deque
from typing import Any, Final

from core.llm.common.messages import (
    AudioPart,
    DocumentPart,
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResultPart,
)
from core.llm.dialects.left_out import report_bound, report_detail, report_foreign, report_name
from core.llm.dialects.tool_results import tool_results
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.bedrock.media import DocumentNames, audio_block, document_block, image_block
from core.llm.providers.bedrock.naming import wire_tool_id, wire_tool_name

Block = dict[str, Any]

_UNANSWERED: Final = "unanswered"


class Conversation:
    """The messages of one request, translated."""

    __slots__ = ("_documents", "_replays_thinking", "_request", "_unnamed", "messages", "system", "tool_names")

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._documents = DocumentNames()
        self._unnamed: deque[str] = deque()
        self._replays_thinking = request.facts.quirks.get("replay_thinking", True)
        self.system: list[Block] = []
        self.messages: list[dict[str, Any]] = []
        self.tool_names: dict[str, None] = {}
        """Tools that the history speaks of, by the names they have on the wire, in order."""
        for message in request.messages:
            self._add(message)

    @property
    def has_tools(self) -> bool:
        """Whether the history holds calls or results: Bedrock then insists on a tool configuration."""
        return bool(self.tool_names) or any(
            "toolResult" in block for turn in self.messages for block in turn["content"]
        )

    def _add(self, message: Message) -> None:
        report_name(self._request, message)
        if message.role == "system":
            self._system(message)
        elif message.role == "assistant":
            self._turn("assistant", [block for part in message.parts for block in self._assistant(part)])
        elif message.role == "tool":
            self._tool(message)
        else:
            blocks = [block for part in message.parts for block in self._user(part)]
            # Results answer the turn before: they come before what the user says beside them.
            self._turn("user", sorted(blocks, key=lambda block: "toolResult" not in block))

    def _system(self, message: Message) -> None:
        if self.messages:
            self._request.warn("other", "messages", "a system message in the middle was moved to the beginning")
            if self._request.facts.quirks.get("bound_thinking"):
                self._unbind()
        if any(not isinstance(part, TextPart) for part in message.parts):
            self._request.warn("dropped", "messages", "a system message can only hold text")
        if message.text.strip():
            self.system.append({"text": message.text})

    def _unbind(self) -> None:
        """Leave out the thinking so far: it is bound to a conversation without the system text that now precedes it."""
        for turn in self.messages:
            kept = [block for block in turn["content"] if "reasoningContent" not in block]
            if kept and len(kept) < len(turn["content"]):
                turn["content"] = kept
                report_bound(self._request)

    def _turn(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"].extend(blocks)
        else:
            self.messages.append({"role": role, "content": blocks})

    def _user(self, part: Part) -> list[Block]:
        match part:
            case TextPart():
                return [{"text": part.text}] if part.text.strip() else []
            case ImagePart():
                report_detail(self._request, part)
                return [image_block(part)]
            case DocumentPart():
                return [document_block(part, self._documents)]
            case AudioPart():
                return [audio_block(part)]
            case ToolResultPart():
                return [self._result(part.tool_call_id, part.content, is_error=part.is_error)]
            case _:
                self._request.warn("dropped", "messages", f"a {part.type} part in a user message")
                return []

    def _assistant(self, part: Part) -> list[Block]:
        match part:
            case TextPart():
                return [{"text": part.text}] if part.text.strip() else []
            case ToolCall():
                return [self._call(part)]
            case ThinkingPart():
                return self._thinking(part)
            case _:
                self._request.warn("dropped", "messages", f"a {part.type} part in an assistant message")
                return []

    def _thinking(self, part: ThinkingPart) -> list[Block]:
        # Only what its own provider can recognise is sent back; unsigned thinking means nothing to it.
        if part.provider not in {None, self._request.provider}:
            report_foreign(self._request)
            return []
        if not self._replays_thinking:
            return []
        blocks: list[Block] = []
        if part.signature is not None:
            blocks.append({"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}})
        if part.redacted is not None:
            blocks.append({"reasoningContent": {"redactedContent": part.redacted}})
        return blocks

    def _call(self, call: ToolCall) -> Block:
        name = wire_tool_name(call.name)
        self.tool_names[name] = None
        identifier = call.id
        if not identifier:
            identifier = f"{_UNANSWERED}:{len(self.messages)}:{len(self._unnamed)}"
            self._unnamed.append(identifier)
        if call.arguments_error is not None:
            self._request.warn("other", "messages", f"unreadable arguments of a call of {call.name} were left out")
        return {"toolUse": {"toolUseId": wire_tool_id(identifier), "name": name, "input": dict(call.arguments)}}

    def _tool(self, message: Message) -> None:
        results, beside = tool_results(self._request, message)
        blocks = [self._result(one.tool_call_id, one.content, is_error=one.is_error) for one in results]
        content = blocks[-1]["toolResult"]["content"]
        for part in beside:
            if isinstance(part, ImagePart):
                report_detail(self._request, part)
                content.append(image_block(part))
            elif isinstance(part, DocumentPart):
                content.append(document_block(part, self._documents))
            else:
                self._request.warn("dropped", "messages", f"a {part.type} part in the result of a tool")
        self._turn("user", blocks)

    def _result(self, identifier: str, content: str, *, is_error: bool) -> Block:
        if not identifier and self._unnamed:
            identifier = self._unnamed.popleft()
        result: Block = {
            "toolUseId": wire_tool_id(identifier),
            "content": [{"text": content}] if content.strip() else [],
        }
        if is_error and self._request.facts.quirks.get("tool_status", True):
            result["status"] = "error"
        return {"toolResult": result}
