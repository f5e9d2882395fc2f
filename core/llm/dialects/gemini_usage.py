"""Token counts of the Gemini format, turned into buckets that do not overlap.

Cached tokens are counted inside the prompt. Thoughts, and what the provider's own tools add to the prompt, are counted
beside everything else: the total is the sum of prompt, tool prompt, candidates and thoughts.
"""

from collections.abc import Mapping

from core.llm.common.types import CallWarning, Usage
from core.llm.dialects.token_counts import suspect_usage, token_count


def usage_from_gemini(raw: object) -> tuple[Usage, CallWarning | None]:
    """The usage in *raw*, and a warning where it cannot be trusted; `estimated` where there are no numbers."""
    if not isinstance(raw, Mapping):
        return Usage(estimated=True), None
    prompt = token_count(raw.get("promptTokenCount"))
    tools = token_count(raw.get("toolUsePromptTokenCount"))
    cached = token_count(raw.get("cachedContentTokenCount"))
    output = token_count(raw.get("candidatesTokenCount", raw.get("responseTokenCount")))
    thoughts = token_count(raw.get("thoughtsTokenCount"))
    total = token_count(raw.get("totalTokenCount"))
    problem = ""
    if min(prompt, tools, cached, output, thoughts, total) < 0:
        problem = "impossible numbers"
        prompt, tools, cached, output, thoughts = (max(one, 0) for one in (prompt, tools, cached, output, thoughts))
        total = 0
    if not prompt and not output and not total:
        return Usage(estimated=True, raw=raw), suspect_usage(problem)
    gap = total - prompt - tools - output - thoughts
    if gap > 0:
        # Only the total knows these; the dearer side is the safe one.
        output += gap
    elif gap < 0 < total:
        problem = problem or f"a total of {total} tokens for {total - gap} counted ones"
    if cached > prompt:
        problem = problem or f"{cached} cached tokens in a prompt of {prompt}"
        cached = 0
    # Without a prompt nobody said what it cost: somebody else has to estimate.
    estimated = not prompt or (bool(problem) and total == 0)
    usage = Usage(prompt + tools - cached, cached, 0, output, thoughts, estimated, raw)
    return usage, suspect_usage(problem)
