"""One scale of thinking, put into the words that each family of models on Bedrock has for it.

Which words is a fact of the model: `thinking` among its quirks. Most travel in `additionalModelRequestFields`, which
Bedrock hands to the model as they are.
"""

from typing import Any, Final

from core.llm.dialects.efforts import nearest
from core.llm.providers.base.request import ChatRequest

_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "max": 32000}
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_BY_BUDGET: Final = ((4096, "low"), (16384, "medium"), (32768, "high"))
_SMALLEST: Final = 1024
_ROOM_FOR_ANSWER: Final = 4096


def encode_thinking(request: ChatRequest, body: dict[str, Any], fields: dict[str, Any]) -> bool:
    """Write the thinking that was asked for into *body* and *fields*; returns whether the model was told to think."""
    asked = request.params.thinking
    style = request.facts.quirks.get("thinking")
    if asked is None:
        return False
    if style in {None, "none"}:
        if asked != "off":
            request.warn("dropped", "thinking", f"no switch for the thinking of {request.model} is known")
        return False
    if asked == "off":
        return _off(request, style, fields)
    if style == "budget":
        return _budget(request, asked if isinstance(asked, int) else _BUDGETS[asked], body, fields)
    effort = _effort(request, asked)
    if style == "adaptive":
        fields["thinking"] = {"type": "adaptive"}
        body.setdefault("outputConfig", {})["effort"] = effort
    elif style == "reasoning_config":
        fields["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}
    else:
        fields["reasoning_effort"] = effort
    return True


def _off(request: ChatRequest, style: str, fields: dict[str, Any]) -> bool:
    if style == "reasoning_effort" or request.facts.quirks.get("always_thinks"):
        request.warn("dropped", "thinking", f"{request.model} cannot stop thinking")
    elif style == "adaptive":
        fields["thinking"] = {"type": request.facts.quirks.get("thinking_off", "disabled")}
    # The others think only when they are told to.
    return False


def _budget(request: ChatRequest, budget: int, body: dict[str, Any], fields: dict[str, Any]) -> bool:
    """Claude's older form: at least 1024 tokens, and fewer than the answer may have in all."""
    if budget < _SMALLEST:
        request.warn("clamped", "thinking", f"{request.model} thinks with {_SMALLEST} tokens or more, not {budget}")
        budget = _SMALLEST
    most = request.params.max_tokens
    if most is None:
        limit = request.facts.max_output_tokens
        whole = budget + _ROOM_FOR_ANSWER
        most = whole if limit is None else min(whole, limit)
        body.setdefault("inferenceConfig", {})["maxTokens"] = most
        request.warn("other", "max_tokens", f"{request.model} needs a limit to think with: {most} was sent")
    if most <= _SMALLEST:
        request.warn("dropped", "thinking", f"max_tokens={most} leaves {request.model} no room to think")
        return False
    if budget >= most:
        request.warn("clamped", "thinking", f"the budget of {budget} tokens was cut to stay below max_tokens")
        budget = max(_SMALLEST, most - _ROOM_FOR_ANSWER) if most > _SMALLEST + _ROOM_FOR_ANSWER else _SMALLEST
    fields["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return True


def _effort(request: ChatRequest, asked: str | int) -> str:
    known: tuple[str, ...] = tuple(request.facts.quirks.get("effort", ("low", "medium", "high")))
    if isinstance(asked, int):
        wanted = next((word for limit, word in _BY_BUDGET if asked <= limit), "max")
        request.warn("emulated", "thinking", f"a budget of {asked} tokens was sent as an effort")
    else:
        wanted = "low" if asked == "minimal" else asked
    if wanted not in known:
        wanted = nearest(wanted, known, _EFFORTS)
    if isinstance(asked, str) and wanted != asked:
        request.warn("clamped", "thinking", f"{request.model} does not know the effort {asked!r}: sent {wanted!r}")
    return wanted
