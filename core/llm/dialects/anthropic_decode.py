"""Whole answers of the Messages format, and of the endpoint that counts tokens."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import TextPart, ThinkingPart, ToolCall
from core.llm.common.types import Billing
from core.llm.dialects.anthropic_blocks import carried
from core.llm.dialects.anthropic_finish import finish_from_anthropic, refusal_text, text_field
from core.llm.dialects.anthropic_history import wire_id
from core.llm.dialects.anthropic_quirks import AnthropicQuirks
from core.llm.dialects.anthropic_tools import answer_tool
from core.llm.dialects.anthropic_usage import usage_from_anthropic
from core.llm.dialects.errors import request_id
from core.llm.dialects.json import encode_json, schema_error
from core.llm.dialects.json_body import json_answer
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import AnswerPart, LLMResponse


def decode_answer(
    request: ChatRequest, quirks: AnthropicQuirks, headers: Mapping[str, str], body: bytes
) -> LLMResponse:
    """The answer in *body*.

    Raises:
        ProviderError: it holds no complete answer.
    """
    answer = json_answer(body, headers)
    billing: Billing = "settled" if answer.get("usage") else "ambiguous"
    content = answer.get("content")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise schema_error("it has no list of content blocks", billing)
    raw_finish = answer.get("stop_reason")
    if not isinstance(raw_finish, str) or not raw_finish:
        raise schema_error("it does not say why the model stopped", billing)
    name = answer_tool(request, quirks)
    parts: list[AnswerPart] = []
    identifier, calls = text_field(answer, "id"), 0
    for block in content:
        part = _part(block, request, name, f"{identifier}:{calls}")
        if part is not None:
            parts.append(part)
            calls += part.type == "tool_call"
    usage, warning = usage_from_anthropic(answer.get("usage"))
    if warning is not None:
        request.warnings.append(warning)
    answered = any(block.get("type") == "tool_use" and block.get("name") == name for block in content)
    finish = finish_from_anthropic(raw_finish, has_calls=calls > 0, answered_by_tool=answered)
    refused = finish.unified == "refusal"
    return LLMResponse(
        tuple(parts),
        finish,
        model=text_field(answer, "model"),
        usage=usage,
        request_id=request_id(headers),
        refusal=refusal_text(answer.get("stop_details")) if refused else None,
        raw=answer,
    )


def _part(block: dict[str, Any], request: ChatRequest, answer_name: str | None, seed: str) -> AnswerPart | None:
    match block.get("type"):
        case "text":
            text = text_field(block, "text")
            return TextPart(text) if text else None
        case "thinking":
            text, signature = text_field(block, "thinking"), text_field(block, "signature") or None
            return ThinkingPart(text, signature, None, request.provider) if text or signature else None
        case "redacted_thinking":
            return ThinkingPart("", None, text_field(block, "data"), request.provider)
        case "tool_use":
            if answer_name is not None and block.get("name") == answer_name:
                return TextPart(encode_json(block.get("input") or {}).decode())
            return with_caller(_call(block, seed), block, request.provider)
        case _:
            return ThinkingPart("", None, carried(block), request.provider)


def made_up_id(seed: str, name: str) -> str:
    """The id of a call that came without one; *seed* is the answer and the call's place in it."""
    return wire_id(f":{seed}:{name}")


def with_caller(call: ToolCall, block: Mapping[str, Any], provider: str) -> ToolCall:
    """*call* with the code on the server that made it, where *block* names one: the API wants it back."""
    caller = block.get("caller")
    if not isinstance(caller, dict) or caller.get("type", "direct") == "direct":
        return call
    return replace(call, signature=carried(caller), provider=provider)


def _call(block: Mapping[str, Any], seed: str) -> ToolCall:
    name, identifier = text_field(block, "name"), text_field(block, "id")
    if not name:
        raise schema_error("a tool call has no name")
    identifier = identifier or made_up_id(seed, name)
    arguments = block.get("input")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        text = arguments if isinstance(arguments, str) else encode_json(arguments).decode()
        return ToolCall.from_text(identifier, name, text)
    return ToolCall(identifier, name, arguments)


def decode_count(headers: Mapping[str, str], body: bytes) -> int:
    """The number of prompt tokens in the answer of the counting endpoint.

    Raises:
        ProviderError: there is none.
    """
    count = json_answer(body, headers).get("input_tokens")
    if type(count) is not int or count < 0:
        raise schema_error("it has no number of input tokens")
    return count


def placed_id(error: ProviderError, body: object) -> ProviderError:
    """*error* with the request id that error bodies carry, where the headers had none."""
    if error.request_id is None and isinstance(body, Mapping):
        identifier = body.get("request_id")
        if isinstance(identifier, str) and identifier:
            error.request_id = identifier[:100]
    return error
