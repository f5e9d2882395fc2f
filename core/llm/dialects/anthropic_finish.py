"""Why Claude stopped, and what stands in the place of an answer when it refuses."""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.types import FinishReason, UnifiedFinish

_STOP_REASONS: Final[Mapping[str, UnifiedFinish]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "stop": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}
"""Everything else, `pause_turn` among it, is `other`: the caller reads the raw word."""


def finish_from_anthropic(raw: str | None, *, has_calls: bool, answered_by_tool: bool = False) -> FinishReason:
    """Our word for *raw*. *answered_by_tool*: a tool call of ours carried a structured answer."""
    unified = _STOP_REASONS.get(raw or "", "other")
    if unified == "tool_calls" and answered_by_tool and not has_calls:
        unified = "stop"
    return FinishReason(unified, raw)


def refusal_text(details: object) -> str | None:
    """The explanation in `stop_details`, or the category where there is no explanation."""
    if not isinstance(details, Mapping):
        return None
    for key in ("explanation", "category"):
        value = details.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def text_field(source: Mapping[str, Any], name: str) -> str:
    """The string *name* of *source*, empty where it is missing or no string."""
    value = source.get(name)
    return value if value.__class__ is str else ""
