"""Recorded requests of plain text with the number of prompt tokens that the provider reported."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.llm.common.messages import Message
from core.llm.providers.base.request import LLMRequest

_FOLDER = Path(__file__).parents[2] / "recordings"
_WIRES = {"openai.chat", "openai.responses", "anthropic.messages", "gemini.generate", "bedrock.converse", "ollama.chat"}
_NOT_TEXT = ("tools", "toolConfig", "response_format", "output_format", "output_config", "outputConfig", "format",
             "text", "cachedContent", "guardrailConfig", "functions", "web_search_options", "search_parameters",
             "plugins", "context_management", "mcp_servers")  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordedCount:
    """One request, and its count."""

    id: str
    provider: str
    model: str
    request: LLMRequest
    tokens: int


def recorded_counts() -> Iterator[RecordedCount]:
    """All of them that hold nothing but text."""
    for path in sorted(_FOLDER.glob("*/*.json")):
        data = json.loads(path.read_text())
        body, usage = data["request"]["body"], (data.get("expected") or {}).get("usage") or {}
        if data["wire"] not in _WIRES or not isinstance(body, dict) or "request_cut" in data["tags"]:
            continue
        if not usage.get("input") or any(body.get(name) for name in _NOT_TEXT):
            continue
        tokens = usage["input"]
        beside = (usage.get("cached") or 0) + (usage.get("cache_write") or 0)
        if data["wire"] in {"anthropic.messages", "bedrock.converse"} or beside > tokens:
            tokens += beside
        try:
            messages = list(_messages(body))
        except _NotText:
            continue
        if messages:
            request = LLMRequest(messages=messages)
            yield RecordedCount(data["id"], data["provider"], data["model"] or "", request, tokens)


class _NotText(Exception):
    pass


def _messages(body: Mapping[str, Any]) -> Iterator[Message]:
    for name in ("system", "instructions", "systemInstruction", "system_instruction"):
        if body.get(name):
            yield Message("system", _text(body[name]))
    turns = body.get("messages") or body.get("contents") or body.get("input") or ()
    for turn in [{"content": turns}] if isinstance(turns, str) else turns:
        if turn.get("tool_calls") or turn.get("type", "message") != "message":
            raise _NotText
        yield Message("user", _text(turn.get("content", turn.get("parts"))))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_text, value))
    if isinstance(value, dict) and "parts" in value:
        return _text(value["parts"])
    if isinstance(value, dict) and value.get("type") in {"thinking", "reasoning"}:
        raise _NotText
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return str(value["text"])
    if isinstance(value, dict) and value.keys() == {"cachePoint"}:
        return ""
    raise _NotText
