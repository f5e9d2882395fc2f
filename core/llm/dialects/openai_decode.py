"""Whole answers of the OpenAI chat format."""

from collections.abc import Mapping
from typing import Any

from core.llm.common.messages import TextPart, ThinkingPart, ToolCall
from core.llm.common.types import Billing
from core.llm.dialects.errors import classify, error_of, request_id
from core.llm.dialects.json import schema_error
from core.llm.dialects.json_body import json_answer
from core.llm.dialects.lost_parts import report_lost
from core.llm.dialects.openai_content import (
    check_finish,
    finish_from_openai,
    first_of,
    is_text_alone,
    lost_in,
    text_of,
    thoughts_of,
)
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_tool_calls import calls_from_openai
from core.llm.dialects.openai_usage import usage_from_openai
from core.llm.dialects.think_tags import ThinkTagSplitter
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import AnswerPart, LLMResponse


def decode_answer(request: ChatRequest, quirks: OpenAIQuirks, headers: Mapping[str, str], body: bytes) -> LLMResponse:
    """The answer in *body*; only the first choice is used.

    Raises:
        ProviderError: it holds no complete answer.
    """
    answer = json_answer(body, headers)
    billing: Billing = "settled" if answer.get("usage") else "ambiguous"
    choice = _first_choice(answer, headers, billing)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise schema_error("it has no message", billing)
    identifier = answer.get("id")
    parts: list[AnswerPart] = []
    calls: list[ToolCall] = []
    text_alone = is_text_alone(message)
    if text_alone:
        text: str = message["content"]
    else:
        parts += [
            ThinkingPart(thought.text, thought.signature, thought.redacted, request.provider)
            for thought in thoughts_of(message)
        ]
        text = text_of(message.get("content"))
    if text and quirks.think_tags:
        thinking, text = _without_tags(text)
        if thinking:
            parts.append(ThinkingPart(thinking, provider=request.provider))
    if text:
        parts.append(TextPart(text))
    if not text_alone:
        for kind in lost_in(message):
            report_lost(request, kind)
        calls = calls_from_openai(
            message.get("tool_calls") or message.get("function_call"),
            identifier if isinstance(identifier, str) else "",
            request.provider,
        )
        parts += calls
    refusal = message.get("refusal")
    refusal = refusal if isinstance(refusal, str) and refusal else None
    raw_finish = choice.get("finish_reason")
    raw_finish = raw_finish if isinstance(raw_finish, str) and raw_finish else None
    check_finish(raw_finish, has_output=bool(parts or refusal), billing=billing)
    usage, warning = usage_from_openai(answer.get("usage"), len(text), answer.get("service_tier"))
    if warning is not None:
        request.warnings.append(warning)
    model = answer.get("model")
    return LLMResponse(
        tuple(parts),
        finish_from_openai(raw_finish, has_calls=bool(calls), has_refusal=refusal is not None),
        model=model if isinstance(model, str) else "",
        usage=usage,
        request_id=request_id(headers),
        refusal=refusal,
        raw=answer,
    )


def _first_choice(answer: dict[str, Any], headers: Mapping[str, str], billing: Billing) -> dict[str, Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        if answer.get("message") or answer.get("detail"):
            # As in a stream: some gateways describe failures without the word.
            raise classify(error_of(answer), headers=headers, billing=billing)
        raise schema_error("it has no choices", billing)
    chosen = first_of(choices) if len(choices) > 1 else choices[0]
    if not isinstance(chosen, dict):
        raise schema_error("it has no choices", billing)
    if chosen.get("error"):
        raise classify(error_of(chosen), headers=headers, billing=billing)
    return chosen


def _without_tags(text: str) -> tuple[str, str]:
    splitter = ThinkTagSplitter()
    thinking, rest = splitter.feed(text)
    held_thinking, held_rest = splitter.end()
    return thinking + held_thinking, rest + held_rest
