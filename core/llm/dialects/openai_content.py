"""What a message or a delta of the OpenAI format says: text, thinking and refusal, wherever a server puts them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.llm.common.exceptions import ErrorType, ProviderError
from core.llm.common.types import Billing, FinishReason, UnifiedFinish

FINISH_REASONS: Final[Mapping[str, UnifiedFinish]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "refusal": "refusal",
}

_FAILURES: Final[Mapping[str, ErrorType]] = {
    "error": "server_error",
    "abort": "server_error",
    "network_error": "server_error",
    "insufficient_system_resource": "overloaded",
}
"""Words in the place of a finish reason that mean: this answer was not finished."""


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of thinking: readable text, a signature, or encrypted data."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None


def finish_from_openai(raw: str | None, *, has_calls: bool, has_refusal: bool) -> FinishReason:
    """Our word for *raw*; unknown ones become `other`, and the provider's own word is always kept."""
    if has_refusal and raw in {"stop", "content_filter", None}:
        return FinishReason("refusal", raw)
    unified = FINISH_REASONS.get(raw or "", "other")
    if has_calls and unified == "stop":
        # Some servers say `stop` after a tool call; the caller has to know that it is his turn.
        unified = "tool_calls"
    return FinishReason(unified, raw)


def check_finish(raw: str | None, *, has_output: bool, billing: Billing) -> None:
    """Refuse endings that are no answer.

    Raises:
        ProviderError: the model was cut off by a failure, or everything was withheld by a content filter.
    """
    failure = _FAILURES.get(raw or "")
    if failure is not None:
        raise ProviderError(
            failure,
            f"the provider broke the answer off ({raw})",
            code=raw,
            billing="estimated" if has_output else billing,
        )
    if not has_output and FINISH_REASONS.get(raw or "") == "content_filter":
        raise ProviderError(
            "content_filter", "the provider's content filter withheld the answer", code=raw, billing=billing
        )


def text_of(content: object) -> str:
    """The text of `content`, which is a string or, at some servers, a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(
        part["text"]
        for part in content
        if isinstance(part, Mapping)
        and part.get("type", "text") in ("text", "output_text")  # not a set: what stands there may not be hashable
        and isinstance(part.get("text"), str)
    )


def thoughts_of(message: Mapping[str, Any]) -> Iterator[Thought]:
    """The thinking in *message*; the same text given in two fields is taken once."""
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            if isinstance(part, Mapping) and part.get("type") == "thinking":
                inner = part.get("thinking")
                if text := inner if isinstance(inner, str) else text_of(inner):
                    yield Thought(text, _string(part.get("signature")))
    plain = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(plain, str) and plain:
        yield Thought(plain)
    details = message.get("reasoning_details")
    if isinstance(details, list):
        for detail in details:
            if isinstance(detail, Mapping):
                yield from _detail(detail, has_plain=bool(plain))


def _detail(detail: Mapping[str, Any], *, has_plain: bool) -> Iterator[Thought]:
    if detail.get("type") == "reasoning.encrypted":
        data = _string(detail.get("data"))
        if data:
            yield Thought(redacted=data)
        return
    text = "" if has_plain else _string(detail.get("text") or detail.get("summary")) or ""
    signature = _string(detail.get("signature"))
    if text or signature:
        yield Thought(text, signature)


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None
