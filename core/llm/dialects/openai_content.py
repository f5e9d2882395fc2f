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
    "complete": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "refusal": "refusal",
}

_BESIDE_TEXT: Final = frozenset({"role", "content", "refusal", "annotations"})
_FAILURES: Final[Mapping[str, ErrorType]] = {
    "error": "server_error",
    "abort": "server_error",
    "network_error": "server_error",
    "insufficient_system_resource": "overloaded",
}
"""Words in the place of a finish reason that mean: this answer was not finished."""
_MISMADE: Final = "function_call_filter"
"""Google's word for a tool call that the model got wrong."""
_SEEN: Final = frozenset({"text", "output_text", "thinking", "refusal", "reference"})
"""Kinds of content parts that are read, or say nothing that is not in the text."""


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of thinking: readable text, a signature, or encrypted data."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None


_PLAIN_FINISHES: Final = {raw: FinishReason(unified, raw) for raw, unified in FINISH_REASONS.items()}


def finish_from_openai(raw: str | None, *, has_calls: bool, has_refusal: bool) -> FinishReason:
    """Our word for *raw*; unknown ones become `other`, and the provider's own word is always kept."""
    if not has_calls and not has_refusal and raw in _PLAIN_FINISHES:
        return _PLAIN_FINISHES[raw]
    if has_refusal and raw in {"stop", "content_filter", None}:
        return FinishReason("refusal", raw)
    unified = FINISH_REASONS.get(raw or "") or FINISH_REASONS.get(_word(raw), "other")
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
    if has_output or not raw:
        return
    word = _word(raw)
    if FINISH_REASONS.get(word) == "content_filter":
        raise ProviderError(
            "content_filter", "the provider's content filter withheld the answer", code=raw, billing=billing
        )
    if word == _MISMADE:
        raise ProviderError("protocol", f"the model gave no answer ({raw})", code=_MISMADE, billing=billing)


def _word(raw: str | None) -> str:
    """*raw* as plain as can be: gateways hand through words of other formats, and details behind them."""
    return (raw or "").partition(":")[0].strip().lower()


def is_first(choice: Mapping[str, Any]) -> bool:
    """Whether *choice* is the first of several: by its number, which some servers write as a text or leave out."""
    return choice.get("index") in (0, None, "", "0")  # not a set: what stands there may not be hashable


def first_of(choices: list[Any]) -> dict[str, Any]:
    """The first of several choices wherever it stands in the list; where none is the first, any other."""
    found: dict[str, Any] = next((one for one in choices if isinstance(one, dict) and is_first(one)), choices[0])
    return found


def is_text_alone(message: Mapping[str, Any]) -> bool:
    """Whether *message* holds text and neither thinking, calls nor anything that could be lost, as most do."""
    return message.get("content").__class__ is str and message.keys() <= _BESIDE_TEXT


def lost_in(message: Mapping[str, Any]) -> Iterator[str]:
    """What *message* holds that cannot be read here: sound, pictures, parts of other kinds."""
    for kind in ("audio", "images"):
        if message.get(kind):
            yield kind
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, Mapping) and isinstance(kind := part.get("type", "text"), str) and kind not in _SEEN:
            yield kind


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
