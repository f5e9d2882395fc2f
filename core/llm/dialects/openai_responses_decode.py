"""Whole answers of the Responses format, and the output items that streams end with as well."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import TextPart, ThinkingPart, ToolCall
from core.llm.common.types import Billing, FinishReason, UnifiedFinish
from core.llm.dialects.errors import classify, error_of, request_id
from core.llm.dialects.json import encode_json, schema_error
from core.llm.dialects.json_body import json_answer
from core.llm.dialects.lost_parts import report_lost
from core.llm.dialects.openai_responses_input import PHASE
from core.llm.dialects.openai_usage import usage_from_openai
from core.llm.dialects.stand_in import digest
from core.llm.dialects.tool_names import bare_name
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import AnswerPart, LLMResponse

_INCOMPLETE: Final[Mapping[str, UnifiedFinish]] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "length": "length",
    "content_filter": "content_filter",
}
LOST: Final = frozenset(
    {"image_generation_call", "mcp_approval_request", "computer_call", "local_shell_call", "shell_call",
     "apply_patch_call"}
)  # fmt: skip
"""Items with a result, or a question to the caller, that has no form here; traces of other tools of the server are no
part of the answer."""


def decode_response(request: ChatRequest, headers: Mapping[str, str], body: bytes) -> LLMResponse:
    """The answer in *body*.

    Raises:
        ProviderError: it holds no answer, or one that failed, was cancelled or is not ready.
    """
    answer = json_answer(body, headers)
    parts: list[AnswerPart] = []
    refusals: list[str] = []
    for number, item in enumerate(output_of(answer)):
        parts.extend(parts_of(item, request.provider, f"{answer.get('id')}:{number}"))
        kind = item.get("type")
        if isinstance(kind, str) and kind in LOST:
            report_lost(request, kind)
        refusals.extend(refusals_of(item))
    refusal = "".join(refusals) or None
    billing: Billing = "settled" if answer.get("usage") else "ambiguous"
    finish = finish_of(
        answer,
        headers,
        has_calls=any(isinstance(part, ToolCall) for part in parts),
        has_refusal=refusal is not None,
        has_output=bool(parts or refusal),
        billing=billing,
    )
    visible = sum(len(part.text) for part in parts if isinstance(part, TextPart))
    usage, warning = usage_from_openai(answer.get("usage"), visible, answer.get("service_tier"))
    if warning is not None:
        request.warnings.append(warning)
    model = answer.get("model")
    return LLMResponse(
        tuple(parts),
        finish,
        model=model if isinstance(model, str) else "",
        usage=usage,
        request_id=request_id(headers),
        refusal=refusal,
        raw=answer,
    )


def output_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The output items of *answer*.

    Raises:
        ProviderError: `protocol`, code `schema`: there is no list of them.
    """
    output = answer.get("output")
    if not isinstance(output, list):
        raise schema_error("it has no output")
    return [item for item in output if isinstance(item, dict)]


def parts_of(item: Mapping[str, Any], provider: str, seed: str) -> Iterator[AnswerPart]:
    """The parts that one output item stands for; calls of the server's own tools stand for none."""
    match item.get("type"):
        case "message":
            if (marker := phase_of(item)) is not None:
                yield ThinkingPart("", marker, provider=provider)
            content = item.get("content")
            for part in _dicts([{"type": "text", "text": content}] if isinstance(content, str) else content):
                # Not a set: what stands there may not be hashable.
                if part.get("type") in ("output_text", "text") and isinstance(text := part.get("text"), str) and text:
                    yield TextPart(text)
        case "reasoning":
            yield from _reasoning(item, provider)
        case "function_call" | "custom_tool_call":
            yield call_of(item, seed)


def refusals_of(item: Mapping[str, Any]) -> Iterator[str]:
    """The model's refusals in one output item."""
    if item.get("type") == "message":
        for part in _dicts(item.get("content")):
            text = part.get("refusal")
            if part.get("type") == "refusal" and isinstance(text, str):
                yield text


def phase_of(item: Mapping[str, Any]) -> str | None:
    """The mark of the phase in which a message was written, where it names one."""
    phase = item.get("phase")
    return f"{PHASE}{phase}" if isinstance(phase, str) and phase else None


def call_of(item: Mapping[str, Any], seed: str, written: str = "") -> ToolCall:
    """The tool call of one item; *written* are the arguments that came in pieces, where the item has none.

    Raises:
        ProviderError: `protocol`, code `tool_delta`: it has no name.
    """
    name, arguments = item.get("name"), item.get("arguments") or item.get("input")
    if not isinstance(name, str) or not name:
        raise ProviderError("protocol", "unreadable tool call: it has no name", code="tool_delta", billing="ambiguous")
    identifier = item.get("call_id") or item.get("id")
    if not isinstance(identifier, str) or not identifier:
        identifier = "call_" + digest(f"{seed}:{name}")
    if isinstance(arguments, Mapping):
        arguments = encode_json(arguments).decode()
    text = arguments if isinstance(arguments, str) and arguments else written
    return ToolCall.from_text(identifier, bare_name(name), text)


def finish_of(
    answer: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    has_calls: bool,
    has_refusal: bool,
    has_output: bool,
    billing: Billing,
) -> FinishReason:
    """Why the model stopped.

    Raises:
        ProviderError: it did not: the answer failed, was cancelled, is still being made, or was withheld by a filter.
    """
    status = answer.get("status")
    raw = status if isinstance(status, str) else None
    spent: Billing = "estimated" if has_output else billing
    match raw:
        case "failed":
            raise classify(error_of({"error": answer.get("error")}), headers=headers, billing=spent)
        case "cancelled":
            raise ProviderError(
                "server_error", "the provider cancelled the answer", code=raw, retryable=False, billing=spent
            )
        case "queued" | "in_progress":
            raise ProviderError(
                "protocol",
                f"the answer is not ready ({raw}): answers in the background are not supported",
                code=raw,
                retryable=False,
                billing=spent,
            )
        case "incomplete":
            return _incomplete(answer, has_output=has_output, billing=billing)
    if has_refusal:
        return FinishReason("refusal", raw)
    return FinishReason("tool_calls" if has_calls else "stop", raw)


def _incomplete(answer: Mapping[str, Any], *, has_output: bool, billing: Billing) -> FinishReason:
    details = answer.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    raw = reason if isinstance(reason, str) else "incomplete"
    unified = _INCOMPLETE.get(raw, "other")
    if unified == "content_filter" and not has_output:
        raise ProviderError(
            "content_filter", "the provider's content filter withheld the answer", code=raw, billing=billing
        )
    return FinishReason(unified, raw)


def _reasoning(item: Mapping[str, Any], provider: str) -> Iterator[ThinkingPart]:
    """One part for each text; the last one carries what is encrypted."""
    identifier, encrypted = _text(item.get("id")), _text(item.get("encrypted_content"))
    texts = reasoning_texts(item)
    for text in texts[:-1]:
        yield ThinkingPart(text, identifier, provider=provider)
    if texts or encrypted:
        yield ThinkingPart(texts[-1] if texts else "", identifier, encrypted, provider)


def reasoning_texts(item: Mapping[str, Any]) -> list[str]:
    """What can be read of a reasoning item: its own text, else its summary."""
    for key in ("content", "summary"):
        texts = [text for part in _dicts(item.get(key)) if (text := _text(part.get("text")))]
        if texts:
            return texts
    return []


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
