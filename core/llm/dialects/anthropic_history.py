"""Conversations in the Messages format: system text apart, turns that alternate, results before everything else."""

import re
from collections import deque
from typing import Any, Final

from core.llm.common.exceptions import RequestError, UnsupportedFeature
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
from core.llm.dialects.anthropic_blocks import is_carried, uncarried
from core.llm.dialects.anthropic_cache import CacheMarks
from core.llm.dialects.anthropic_media import media_block
from core.llm.dialects.anthropic_quirks import AnthropicQuirks
from core.llm.dialects.left_out import report_bound, report_detail, report_foreign, report_name
from core.llm.dialects.stand_in import digest
from core.llm.providers.base.request import ChatRequest

Block = dict[str, Any]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_THINKING: Final = frozenset({"thinking", "redacted_thinking"})


def encode_history(request: ChatRequest, quirks: AnthropicQuirks, marks: CacheMarks) -> tuple[list[Block], list[Block]]:
    """The blocks of the system text, and the turns.

    Raises:
        RequestError: nothing is left to be sent.
        UnsupportedFeature: a part cannot be sent, or the model does not continue an answer.
    """
    return _Encoder(request, quirks, marks).run()


def lacks_thinking(turns: list[Block]) -> bool:
    """Whether tool results at the end answer a message that did not begin with thinking.

    With a budget for thinking the API refuses that; such a message comes from another provider, or was made without.
    """
    if len(turns) < 2 or turns[-1]["role"] != "user" or turns[-1]["content"].__class__ is str:
        return False
    answered = turns[-2]["content"]
    return bool(
        turns[-1]["content"][0]["type"] == "tool_result"
        and answered.__class__ is list
        and answered[0]["type"] not in _THINKING
    )


def wire_id(identifier: str) -> str:
    """*identifier* where the API can take it, else a stable stand-in: ids may come from another provider."""
    return identifier if _ID.fullmatch(identifier) else f"toolu_{digest(identifier)}"


class _Encoder:
    __slots__ = ("_made_up", "_marks", "_quirks", "_request", "_system", "_turns", "_waiting")

    def __init__(self, request: ChatRequest, quirks: AnthropicQuirks, marks: CacheMarks) -> None:
        self._request = request
        self._quirks = quirks
        self._marks = marks
        self._system: list[Block] = []
        self._turns: list[Block] = []
        self._waiting: list[Block] = []
        self._made_up: deque[str] = deque()

    def run(self) -> tuple[list[Block], list[Block]]:
        for index, message in enumerate(self._request.messages):
            report_name(self._request, message)
            if message.role == "system":
                blocks = self._add_system(message)
            elif message.role == "assistant":
                blocks = self._assistant(message)
                self._add("assistant", blocks)
            else:
                blocks = self._user(message)
                self._add("user", blocks)
                self._flush_waiting()
            if self._marks.wants(index):
                self._mark(blocks)
        if self._marks.wants("system") and self._system:
            self._marks.set(self._system[-1])
        self._flush_waiting()
        if not self._turns:
            raise RequestError("no message with content is left: the Messages format needs at least one")
        self._check_end()
        for turn in self._turns:
            _order(turn)
        return self._system, self._turns

    def _add(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            self._request.warn("dropped", "messages", f"an empty {role} message was left out: the API refuses them")
        elif self._turns and self._turns[-1]["role"] == role:
            self._turns[-1]["content"] += blocks
        else:
            # The list is the turn's own: marks are set through `blocks`, whose dictionaries both share.
            self._turns.append({"role": role, "content": list(blocks)})

    def _add_system(self, message: Message) -> list[Block]:
        if any(not isinstance(part, TextPart) for part in message.parts):
            self._request.warn("dropped", "messages", "only text can be sent in a system message")
        blocks = [_text(part.text) for part in message.parts if isinstance(part, TextPart) and part.text.strip()]
        if not blocks:
            return blocks
        if not self._turns:
            self._system += blocks
        elif self._request.facts.quirks.get("mid_system"):
            self._waiting += blocks
            if self._turns[-1]["role"] != "assistant" or not _asks(self._turns[-1]):
                self._flush_waiting()
        else:
            self._system += blocks
            self._request.warn(
                "other", "messages", f"{self._request.model} takes system text at the beginning only: moved there"
            )
            if self._request.facts.quirks.get("bound_thinking"):
                self._unbind()
        return blocks

    def _unbind(self) -> None:
        """Leave out the thinking so far: it is bound to a conversation without the system text that now precedes it."""
        for turn in self._turns:
            kept = [block for block in turn["content"] if block["type"] not in _THINKING]
            if kept and len(kept) < len(turn["content"]):
                turn["content"] = kept
                report_bound(self._request)

    def _flush_waiting(self) -> None:
        """System text may not stand between a tool call and its result."""
        if self._waiting:
            self._add("system", self._waiting)
            self._waiting = []

    def _mark(self, blocks: list[Block]) -> None:
        markable = [block for block in blocks if block["type"] not in _THINKING]
        if markable:
            self._marks.set(markable[-1])

    def _assistant(self, message: Message) -> list[Block]:
        blocks: list[Block] = []
        for part in message.parts:
            match part:
                case TextPart():
                    if part.text.strip():
                        blocks.append(_text(part.text))
                case ToolCall():
                    blocks.append(self._call(part, len(blocks)))
                case ThinkingPart():
                    block = self._thinking(part)
                    if block is not None:
                        blocks.append(block)
                case _:
                    self._request.warn("dropped", "messages", f"a {part.type} part in an assistant message")
        return blocks

    def _thinking(self, part: ThinkingPart) -> Block | None:
        """Own thinking unchanged; `None` for that of another provider, which nobody else can read or check."""
        if part.provider not in {None, self._request.provider}:
            report_foreign(self._request)
            return None
        if part.redacted is not None:
            if is_carried(part.redacted):
                return uncarried(part.redacted)
            return {"type": "redacted_thinking", "data": part.redacted}
        if part.signature is None and self._quirks.signatures:
            return None
        return {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}

    def _call(self, call: ToolCall, ordinal: int) -> Block:
        identifier = call.id
        if not identifier:
            identifier = f":{len(self._turns)}:{ordinal}:{call.name}"
            self._made_up.append(identifier)
        arguments = call.arguments if call.arguments_error is None else {"INVALID_JSON": call.raw_arguments or ""}
        block = {"type": "tool_use", "id": wire_id(identifier), "name": call.name, "input": arguments}
        if call.signature and call.provider == self._request.provider and is_carried(call.signature):
            block["caller"] = uncarried(call.signature)
        return block

    def _user(self, message: Message) -> list[Block]:
        blocks: list[Block] = []
        plain: list[Block] = []
        answers_call = message.role == "tool" and not any(isinstance(p, ToolResultPart) for p in message.parts)
        for part in message.parts:
            match part:
                case ToolResultPart():
                    content = [_text(part.content)] if part.content.strip() else []
                    blocks.append(self._result(part.tool_call_id or message.tool_call_id or "", content, part.is_error))
                case TextPart():
                    if part.text.strip():
                        plain.append(_text(part.text))
                case ImagePart() | DocumentPart() | AudioPart():
                    if isinstance(part, ImagePart):
                        report_detail(self._request, part)
                    plain.append(media_block(part))
                case _:
                    self._request.warn("dropped", "messages", f"a {part.type} part in a {message.role} message")
        if answers_call:
            return [self._result(message.tool_call_id or "", plain, is_error=False)]
        return blocks + plain

    def _result(self, identifier: str, content: list[Block], is_error: bool) -> Block:
        if not identifier and self._made_up:
            identifier = self._made_up.popleft()
        block: Block = {"type": "tool_result", "tool_use_id": wire_id(identifier)}
        if content:
            block["content"] = content[0]["text"] if _is_plain(content) else content
        if is_error:
            block["is_error"] = True
        return block

    def _check_end(self) -> None:
        """An answer at the end is to be continued, which newer models refuse; a paused turn is no such thing."""
        last = self._turns[-1]
        if last["role"] != "assistant":
            return
        final = last["content"][-1]
        if final["type"] != "text":
            return
        if self._request.facts.quirks.get("prefill") is False and not any(
            block["type"] not in {"text", "tool_use", *_THINKING} for block in last["content"]
        ):
            raise UnsupportedFeature(
                f"{self._request.model} does not continue an answer: the last message must not be the assistant's"
            )
        stripped = final["text"].rstrip()
        if stripped != final["text"]:
            final["text"] = stripped
            self._request.warn("other", "messages", "white space at the end of the answer to continue was removed")


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _is_plain(blocks: list[Block]) -> bool:
    return len(blocks) == 1 and blocks[0]["type"] == "text" and len(blocks[0]) == 2


def _asks(turn: Block) -> bool:
    return any(block["type"] == "tool_use" for block in turn["content"])


def _order(turn: Block) -> None:
    """Results first, as the API demands; one plain text as a string."""
    content = turn["content"]
    if _is_plain(content):
        turn["content"] = content[0]["text"]
    elif turn["role"] == "user" and any(block["type"] == "tool_result" for block in content):
        turn["content"] = sorted(content, key=lambda block: block["type"] != "tool_result")
