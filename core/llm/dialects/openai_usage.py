"""Token counts of the OpenAI format, turned into buckets that do not overlap.

Cached tokens are counted inside the prompt. Reasoning is counted inside the completion by most, beside it by xAI and
Grok on Azure, and not named at all by Gemini's compatible endpoint: where a total is given, it decides.
"""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.types import CallWarning, Usage

_ABSURD: Final = 10**9


def usage_from_openai(raw: object, visible: int = 0) -> tuple[Usage, CallWarning | None]:
    """The usage in *raw*, and a warning where it cannot be trusted.

    *visible* is the number of characters that were received; fewer tokens than could have made them are suspect.
    `estimated` is set where the numbers are missing or impossible: somebody else then has to estimate.
    """
    if not isinstance(raw, Mapping):
        return Usage(estimated=True), None
    prompt_details = _mapping(raw.get("prompt_tokens_details"))
    completion_details = _mapping(raw.get("completion_tokens_details"))
    numbers = {
        "prompt_tokens": _first(raw, "prompt_tokens", "input_tokens"),
        "completion_tokens": _first(raw, "completion_tokens", "output_tokens"),
        "total_tokens": raw.get("total_tokens"),
        "cached tokens": _first(prompt_details, "cached_tokens")
        or _first(raw, "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens"),
        "cache_write_tokens": prompt_details.get("cache_write_tokens"),
        "reasoning_tokens": _first(completion_details, "reasoning_tokens") or raw.get("reasoning_tokens"),
    }
    absurd = [name for name, value in numbers.items() if not _is_count(value)]
    prompt, completion, total, cached, written, reasoning = (
        int(value) if value is not None and _is_count(value) else 0 for value in numbers.values()
    )
    problem = f"impossible {' and '.join(absurd)}" if absurd else ""
    estimated = bool(absurd)
    if not prompt and not completion and not total:
        return Usage(estimated=True, raw=raw), _suspect(problem)
    if total and total > prompt + completion and not absurd:
        prompt, completion, reasoning = _with_gap(raw, prompt, completion, reasoning, total - prompt - completion)
    if cached + written > prompt:
        # Seen on Azure: a hidden system prompt is counted as cached but not as prompt. The dearer reading is safe.
        problem = problem or f"{cached + written} cached tokens in a prompt of {prompt}"
        cached = written = 0
    if reasoning > completion:
        problem = problem or f"{reasoning} reasoning tokens in a completion of {completion}"
        reasoning = completion
    if visible and (not completion or visible > 64 + 32 * completion):
        problem = problem or f"{completion} completion tokens for {visible} characters"
        estimated = True
    usage = Usage(prompt - cached - written, cached, written, completion - reasoning, reasoning, estimated, raw)
    return usage, _suspect(problem)


def _with_gap(raw: Mapping[str, Any], prompt: int, completion: int, reasoning: int, gap: int) -> tuple[int, int, int]:
    """Prompt, completion (reasoning included) and reasoning, once the tokens that only the total counts are placed."""
    if gap == reasoning:
        return prompt, completion + reasoning, reasoning
    if "prompt_audio_seconds" in raw:
        return prompt + gap, completion, reasoning
    if not prompt and completion:
        return gap, completion, reasoning
    if not reasoning:
        return prompt, completion + gap, gap
    return prompt, completion, reasoning


def _suspect(problem: str) -> CallWarning | None:
    return CallWarning("suspect_usage", f"the provider reports {problem}", "usage") if problem else None


def _is_count(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _ABSURD and value == int(value)
    )


def _first(source: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if source.get(name) is not None:
            return source[name]
    return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
