"""Whole answers of Converse, and what whole and streamed answers share: usage, reasons to stop, reasoning."""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import TextPart, ThinkingPart, ToolCall
from core.llm.common.types import Billing, CallWarning, FinishReason, UnifiedFinish, Usage
from core.llm.dialects.json import encode_json, schema_error
from core.llm.dialects.json_body import json_answer
from core.llm.dialects.lost_parts import report_lost
from core.llm.dialects.token_counts import suspect_usage, token_count
from core.llm.dialects.tool_names import bare_name
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import AnswerPart, LLMResponse
from core.llm.providers.bedrock.errors import request_id
from core.llm.providers.bedrock.naming import tool_names_back
from core.llm.providers.bedrock.structured import answer_tool

_FINISH: Final[Mapping[str, UnifiedFinish]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "refusal",
}
_MALFORMED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})


def decode_answer(request: ChatRequest, headers: Mapping[str, str], body: bytes) -> LLMResponse:
    """The answer in *body*.

    Raises:
        ProviderError: it holds no complete answer.
    """
    answer = json_answer(body, headers)
    usage, warning = usage_from_converse(answer.get("usage"))
    billing: Billing = "ambiguous" if usage.estimated else "settled"
    output = answer.get("output")
    message = output.get("message") if isinstance(output, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        raise schema_error("it has no output with content blocks", billing)
    names = tool_names_back(tool.name for tool in request.params.tools or ())
    parts: list[AnswerPart] = []
    for block in content:
        if isinstance(block, Mapping):
            parts.extend(_parts(block, request.provider, names))
            if "image" in block:
                report_lost(request, "image")
    raw = answer.get("stopReason")
    finish = finish_from_converse(raw, has_output=bool(parts), billing=billing)
    if (tool := answer_tool(request)) is not None:
        parts, finish = _untooled(parts, finish, tool)
    if warning is not None:
        request.warnings.append(warning)
    return LLMResponse(tuple(parts), finish, usage=usage, request_id=request_id(headers), raw=answer)


def _untooled(parts: list[AnswerPart], finish: FinishReason, tool: str) -> tuple[list[AnswerPart], FinishReason]:
    """The answer as text, where it was asked for as the arguments of *tool*."""
    for part in parts:
        if isinstance(part, ToolCall) and part.name == tool:
            thoughts: list[AnswerPart] = [one for one in parts if isinstance(one, ThinkingPart)]
            return [*thoughts, TextPart(part.arguments_json())], finish_of_answer(finish)
    return parts, finish


def finish_of_answer(finish: FinishReason) -> FinishReason:
    """*finish* of an answer that came as a tool call, which nobody has to run."""
    return FinishReason("stop", finish.raw) if finish.unified == "tool_calls" else finish


def finish_from_converse(raw: object, *, has_output: bool, billing: Billing) -> FinishReason:
    """Our word for *raw*; unknown ones become `other`.

    Raises:
        ProviderError: there is no reason, the model's output was unusable, or everything was withheld by a filter.
    """
    if not isinstance(raw, str) or not raw:
        raise schema_error("it does not say why the model stopped", billing)
    if raw in _MALFORMED:
        raise ProviderError(
            "server_error",
            "the model wrote something that Bedrock could not read: another attempt may go better",
            code=raw,
            billing=billing,
        )
    unified = _FINISH.get(raw, "other")
    if unified == "content_filter" and not has_output:
        raise ProviderError(
            "content_filter", "a guardrail or content filter withheld the answer", code=raw, billing=billing
        )
    return FinishReason(unified, raw)


def usage_from_converse(raw: object) -> tuple[Usage, CallWarning | None]:
    """The usage in *raw*, and a warning where it cannot be trusted. Cached tokens are counted beside the input."""
    if not isinstance(raw, dict):
        return Usage(estimated=True), None
    names = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "outputTokens")
    fresh, read, written, output = counts = [token_count(raw.get(name)) for name in names]
    total, problem = token_count(raw.get("totalTokens")), ""
    if min(counts) < 0:
        problem = "impossible numbers"
        fresh, read, written, output = (max(count, 0) for count in counts)
    elif total > 0 and total != sum(counts):
        problem = f"{total} tokens in all and {sum(counts)} in the parts"
    usage = Usage(fresh, read, written, output, estimated=min(counts) < 0 or not any(counts), raw=raw)
    return usage, suspect_usage(problem)


def _parts(block: Mapping[str, Any], provider: str, names: Mapping[str, str]) -> list[AnswerPart]:
    """The parts of one content block; blocks that we have no word for stay in `raw`."""
    if isinstance(text := block.get("text"), str):
        return [TextPart(text)] if text else []
    if isinstance(call := block.get("toolUse"), Mapping):
        return [_call(call, names)]
    if isinstance(reasoning := block.get("reasoningContent"), Mapping):
        return _thinking(reasoning, provider)
    if isinstance(cited := block.get("citationsContent"), Mapping):
        pieces = cited.get("content")
        text = "".join(
            piece["text"]
            for piece in (pieces if isinstance(pieces, list) else ())
            if isinstance(piece, Mapping) and isinstance(piece.get("text"), str)
        )
        return [TextPart(text)] if text else []
    return []


def _call(call: Mapping[str, Any], names: Mapping[str, str]) -> ToolCall:
    identifier, name, arguments = call.get("toolUseId"), call.get("name"), call.get("input")
    if not isinstance(name, str) or not name or not isinstance(identifier, str):
        raise schema_error("a tool call has no name or id")
    name = bare_name(name)
    name = names.get(name, name)
    if isinstance(arguments, dict):
        return ToolCall(identifier, name, arguments)
    return ToolCall.from_text(identifier, name, "" if arguments is None else encode_json(arguments).decode())


def _thinking(reasoning: Mapping[str, Any], provider: str) -> list[AnswerPart]:
    parts: list[AnswerPart] = []
    text = reasoning.get("reasoningText")
    if isinstance(text, Mapping) and isinstance(text.get("text"), str):
        signature = text.get("signature")
        parts.append(ThinkingPart(text["text"], signature if isinstance(signature, str) else None, provider=provider))
    redacted = reasoning.get("redactedContent")
    if isinstance(redacted, str) and redacted:
        parts.append(ThinkingPart("", redacted=redacted, provider=provider))
    return parts
