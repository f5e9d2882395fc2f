"""Token counts of the OpenAI format, turned into buckets that do not overlap.

Cached tokens are counted inside the prompt. Reasoning is counted inside the completion by most, beside it by xAI and
Grok on Azure, and not named at all by Gemini's compatible endpoint: where a total is given, it decides.
"""

from typing import Any, Final

from core.llm.common.types import CallWarning, Usage
from core.llm.dialects.token_counts import suspect_usage, token_count

_ABSURD: Final = 10**9
_PLAIN_KEYS: Final = frozenset(
    {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"}
)
_CACHED: Final = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens")
_WRITTEN: Final = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
"""OpenAI's name, and those of gateways to Claude and of Alibaba."""
_USUAL_TIERS: Final = frozenset({"default", "auto", "standard"})


def usage_from_openai(raw: object, visible: int = 0, tier: object = None) -> tuple[Usage, CallWarning | None]:
    """The usage in *raw*, and a warning where it cannot be trusted.

    *visible* is the number of characters that were received; fewer tokens than could have made them are suspect. *tier*
    is the service tier that the answer names, which decides the price: where it is not the usual one, it is kept in
    `Usage.raw` as `service_tier`.
    `estimated` is set where the numbers are missing or impossible: somebody else then has to estimate.
    """
    if not isinstance(raw, dict):
        return Usage(estimated=True), None
    if isinstance(tier, str) and tier not in _USUAL_TIERS:
        raw = {**raw, "service_tier": tier}
    plain = _plain(raw, visible)
    if plain is not None:
        return plain, None
    prompt_details = _first(raw, "prompt_tokens_details", "input_tokens_details")
    completion_details = _first(raw, "completion_tokens_details", "output_tokens_details")
    prompt = token_count(_first(raw, "prompt_tokens", "input_tokens"))
    completion = token_count(_first(raw, "completion_tokens", "output_tokens"))
    total = token_count(raw.get("total_tokens"))
    cached = written = reasoning = 0
    if isinstance(prompt_details, dict):
        cached = token_count(prompt_details.get("cached_tokens"))
        written = token_count(_first(prompt_details, *_WRITTEN))
    if isinstance(completion_details, dict):
        reasoning = token_count(completion_details.get("reasoning_tokens"))
    cached = cached or token_count(_first(raw, *_CACHED))
    written = written or token_count(raw.get("cache_creation_input_tokens"))
    reasoning = reasoning or token_count(raw.get("reasoning_tokens"))
    problem, estimated = "", False
    if min(prompt, completion, total, cached, written, reasoning) < 0:
        problem, estimated = "impossible numbers", True
        prompt, completion, total = max(prompt, 0), max(completion, 0), 0
        cached, written, reasoning = max(cached, 0), max(written, 0), max(reasoning, 0)
    if not prompt and not completion and not total:
        return Usage(estimated=True, raw=raw), suspect_usage(problem)
    if total > prompt + completion:
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
    return usage, suspect_usage(problem)


def _plain(raw: dict[str, Any], visible: int) -> Usage | None:
    """The usage where it says no more than prompt and completion, and they add up: what most answers say."""
    prompt, completion = raw.get("prompt_tokens"), raw.get("completion_tokens")
    if prompt.__class__ is not int or completion.__class__ is not int or raw.get("total_tokens") != prompt + completion:
        return None
    if not (0 < prompt < _ABSURD and 0 < completion < _ABSURD) or visible > 64 + 32 * completion:
        return None
    if not raw.keys() <= _PLAIN_KEYS or _says_more(raw.get("prompt_tokens_details")):
        return None
    if _says_more(raw.get("completion_tokens_details")):
        return None
    return Usage(prompt, 0, 0, completion, 0, False, raw)


def _says_more(details: object) -> bool:
    return details is not None and not (isinstance(details, dict) and not any(details.values()))


def _with_gap(raw: dict[str, Any], prompt: int, completion: int, reasoning: int, gap: int) -> tuple[int, int, int]:
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


def _first(source: dict[str, Any], *names: str) -> Any:
    for name in names:
        value = source.get(name)
        if value is not None:
            return value
    return None
