"""What the Messages API refuses about turns and content blocks."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.types import ModelFacts

_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_THINKING: Final = frozenset({"thinking", "redacted_thinking"})
_BLOCKS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"text", "citations", "cache_control"}),
    "image": frozenset({"source", "cache_control"}),
    "document": frozenset({"source", "title", "context", "citations", "cache_control"}),
    "tool_use": frozenset({"id", "name", "input", "cache_control", "caller"}),
    "tool_result": frozenset({"tool_use_id", "content", "is_error", "cache_control"}),
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
}
_BY_ROLE: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"text", "image", "document", "tool_result"}),
    "assistant": frozenset({"text", "tool_use", "thinking", "redacted_thinking"}),
    "system": frozenset({"text"}),
}
_SERVER_BLOCK: Final = re.compile(r"server_tool_use|.+_tool_result|compaction|container_upload|search_result")


class BadRequest(Exception):
    """The API refuses; 400 unless another status is given."""

    def __init__(self, message: str, status: int = 400, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def check_cache_control(mark: Any) -> None:
    """Refuse a breakpoint of another form than the API's.

    Raises:
        BadRequest: naturally.
    """
    if not isinstance(mark, dict) or mark.get("type") != "ephemeral" or not mark.keys() <= {"type", "ttl"}:
        raise BadRequest("cache_control: Input should be of type 'ephemeral'")
    if mark.get("ttl", "5m") not in {"5m", "1h"}:
        raise BadRequest("cache_control.ephemeral.ttl: Input should be '5m' or '1h'")


def check_text_blocks(value: Any, where: str) -> None:
    """Refuse text that is neither a string nor text blocks with visible text.

    Raises:
        BadRequest: it names the block.
    """
    if isinstance(value, str):
        return
    if not isinstance(value, list):
        raise BadRequest(f"{where}: Input should be a valid list")
    for index, block in enumerate(value):
        _check_block(block, f"{where}.{index}", _BY_ROLE["system"])


def check_messages(body: Mapping[str, Any], facts: ModelFacts) -> None:
    """Refuse turns that do not alternate, blocks in the wrong place, calls without results and results without calls.

    Raises:
        BadRequest: it names the turn.
    """
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: at least one message is required")
    previous: Mapping[str, Any] = {}
    asked: dict[str, None] = {}
    seen: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        role, blocks = _turn(message, where, facts)
        if role == previous.get("role"):
            raise BadRequest(f'{where}: roles must alternate between "user" and "assistant", found two of "{role}"')
        _check_results(blocks, where, asked)
        asked = {block["id"]: None for block in blocks if block["type"] == "tool_use"}
        if seen & asked.keys() or len(asked) < sum(block["type"] == "tool_use" for block in blocks):
            raise BadRequest(f"{where}: `tool_use` ids must be unique")
        seen |= asked.keys()
        previous = message
    if asked:
        raise BadRequest(f"messages.{len(messages) - 1}: `tool_use` ids were found without `tool_result` blocks")
    _check_end(body, messages, facts)


def _turn(message: Any, where: str, facts: ModelFacts) -> tuple[str, list[dict[str, Any]]]:
    if not isinstance(message, dict) or message.keys() != {"role", "content"}:
        raise BadRequest(f"{where}: a message has `role` and `content`, and nothing else")
    role, content = message["role"], message["content"]
    if role not in _BY_ROLE or (role == "system" and not facts.quirks.get("mid_system")):
        raise BadRequest(f"{where}: role '{role}' is not supported on this model")
    if not content:
        raise BadRequest(
            f"{where}: all messages must have non-empty content except for the optional final assistant message"
        )
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for number, block in enumerate(content):
        _check_block(block, f"{where}.content.{number}", _BY_ROLE[role])
    return role, content


def _check_block(block: Any, where: str, allowed: frozenset[str]) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        raise BadRequest(f"{where}: Input should be an object with a type")
    if kind not in _BLOCKS and "tool_use" in allowed and _SERVER_BLOCK.fullmatch(kind):
        return
    if kind not in allowed:
        raise BadRequest(f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    if unknown := block.keys() - _BLOCKS[kind] - {"type"}:
        raise BadRequest(f"{where}.{kind}.{min(unknown)}: Extra inputs are not permitted")
    match kind:
        case "text":
            if not isinstance(block.get("text"), str) or not block["text"].strip():
                raise BadRequest(f"{where}: text content blocks must contain non-whitespace text")
        case "image" | "document":
            _check_source(block.get("source"), f"{where}.{kind}.source", kind)
        case "tool_use":
            if not isinstance(block.get("id"), str) or not _ID.fullmatch(block["id"]):
                raise BadRequest(f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            if not isinstance(block.get("input"), dict) or not isinstance(block.get("name"), str):
                raise BadRequest(f"{where}.tool_use.input: Input should be a valid dictionary")
        case "tool_result":
            content = block.get("content", "")
            for number, inner in enumerate(content if isinstance(content, list) else ()):
                if isinstance(inner, dict) and inner.get("type") in {"tool_reference", "search_result"}:
                    continue
                _check_block(inner, f"{where}.tool_result.content.{number}", _BY_ROLE["user"] - {"tool_result"})


def _check_source(source: Any, where: str, kind: str) -> None:
    form = source.get("type") if isinstance(source, dict) else None
    if form == "url":
        if not str(source.get("url", "")).startswith(("https://", "http://")):
            raise BadRequest(f"{where}.url: Only HTTPS URLs are supported.")
    elif form == "base64":
        known = _IMAGES if kind == "image" else {"application/pdf"}
        if source.get("media_type") not in known:
            raise BadRequest(f"{where}.base64.media_type: Input should be one of {', '.join(sorted(known))}")
        try:
            base64.b64decode(source.get("data", "!"), validate=True)
        except binascii.Error:
            raise BadRequest(f"{where}.base64: invalid base64 data") from None
    elif form == "text" and kind == "document":
        if source.get("media_type") != "text/plain" or not source.get("data"):
            raise BadRequest(f"{where}.text: Input should be 'text/plain' with data")
    elif form != "file":
        raise BadRequest(f"{where}: Input tag does not match any of the expected tags")


def _check_results(blocks: list[dict[str, Any]], where: str, asked: Mapping[str, None]) -> None:
    """Each call of the turn before has one result, at the beginning of this turn."""
    results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    for identifier in results:
        if identifier not in asked:
            raise BadRequest(
                f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {identifier}. Each `tool_result` "
                "block must have a corresponding `tool_use` block in the previous message."
            )
    if len(set(results)) < len(results):
        raise BadRequest(f"{where}: each tool_use must have a single result")
    leading = [block["type"] for block in blocks[: len(results)]]
    if missing := [identifier for identifier in asked if identifier not in results]:
        raise BadRequest(
            f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}."
        )
    if any(kind != "tool_result" for kind in leading):
        raise BadRequest(f"{where}: `tool_result` blocks must come first in the message")


def _check_end(body: Mapping[str, Any], messages: list[dict[str, Any]], facts: ModelFacts) -> None:
    last = messages[-1]
    blocks = last["content"] if isinstance(last["content"], list) else [{"type": "text", "text": last["content"]}]
    if last["role"] == "assistant":
        paused = any(_SERVER_BLOCK.fullmatch(block["type"]) for block in blocks)
        if facts.quirks.get("prefill") is False and not paused:
            raise BadRequest("This model does not support assistant message prefill. End with a user message.")
        if blocks[-1]["type"] == "text" and blocks[-1]["text"] != blocks[-1]["text"].rstrip():
            raise BadRequest("messages: final assistant content cannot end with trailing whitespace")
    enabled = (body.get("thinking") or {}).get("type") == "enabled"
    if enabled and blocks[0]["type"] == "tool_result":
        before = messages[-2]["content"]
        if isinstance(before, str) or before[0]["type"] not in _THINKING:
            raise BadRequest(
                f"messages.{len(messages) - 2}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
                "another block. With thinking enabled, a final `assistant` message must start with a thinking block."
            )
