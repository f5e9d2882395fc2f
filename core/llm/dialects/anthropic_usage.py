"""Token counts of the Messages format, as buckets that do not overlap.

`input_tokens` leaves out what was read from or written to the prompt cache; `output_tokens` includes thinking. What a
compaction used stands beside the totals and is billed: it is added.
"""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.types import CallWarning, Usage

_ABSURD: Final = 10**9
_INPUT: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


def usage_from_anthropic(raw: object) -> tuple[Usage, CallWarning | None]:
    """The usage in *raw*, and a warning where it cannot be trusted or leaves something out."""
    if not isinstance(raw, Mapping) or (raw.get("input_tokens") is None and raw.get("output_tokens") is None):
        return Usage(estimated=True), None
    counts = [_count(raw.get(name)) for name in _INPUT]
    details = raw.get("output_tokens_details")
    thinking = _count(details.get("thinking_tokens")) if isinstance(details, Mapping) else 0
    problem, warning = "", None
    iterations = raw.get("iterations")
    for one in iterations if isinstance(iterations, list) else ():
        if not isinstance(one, Mapping):
            continue
        if one.get("type") == "compaction":
            counts = [total + _count(one.get(name)) for total, name in zip(counts, _INPUT, strict=True)]
        elif one.get("type") == "advisor_message":
            used = sum(_count(one.get(name)) for name in _INPUT)
            text = f"an advisor model used {used} tokens that are billed at its own price and not counted here"
            warning = CallWarning("other", text, "usage")
    if min(*counts, thinking) < 0:
        problem = "impossible numbers"
        counts = [max(count, 0) for count in counts]
        thinking = max(thinking, 0)
    if thinking > counts[3]:
        problem = problem or f"{thinking} thinking tokens in an output of {counts[3]}"
        thinking = counts[3]
    usage = Usage(counts[0], counts[1], counts[2], counts[3] - thinking, thinking, problem == "impossible numbers", raw)
    if problem:
        warning = CallWarning("suspect_usage", f"the provider reports {problem}", "usage")
    return usage, warning


def _count(value: Any) -> int:
    """*value* as a number of tokens; 0 where it is missing, far below zero where it is none."""
    if value is None:
        return 0
    return value if type(value) is int and 0 <= value < _ABSURD else -(10**12)
