"""One scale of thinking, as adaptive thinking with an effort or as a budget: whichever the model takes."""

from typing import Any, Final

from core.llm.dialects.efforts import nearest
from core.llm.providers.base.request import ChatRequest

MIN_BUDGET: Final = 1024
_ROOM: Final = 4096
"""Tokens kept for the answer where only the size of the thinking was given."""
_SCALE: Final = ("low", "medium", "high", "xhigh", "max")
_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "max": "max"}
_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "max": 32768}
_BY_BUDGET: Final = ((4096, "low"), (16384, "medium"), (32768, "high"))


def encode_thinking(request: ChatRequest, body: dict[str, Any], *, history_lacks_thinking: bool) -> bool:
    """Write the thinking that was asked for into *body*, which holds `max_tokens`.

    Returns whether the model will think, as far as is known.
    """
    asked = request.params.thinking
    facts = request.facts.quirks
    by_default = bool(facts.get("default_thinking"))
    if asked is None:
        return by_default
    # An unknown model is most likely a new one.
    kind = facts.get("thinking", "adaptive")
    if asked == "off":
        return _off(request, body, kind, by_default=by_default)
    if kind == "none":
        request.warn("dropped", "thinking", f"{request.model} does not think")
        return False
    if kind == "budget" or (kind == "both" and isinstance(asked, int)):
        if history_lacks_thinking:
            request.warn(
                "dropped", "thinking", "the tool call being answered was made without thinking: it cannot begin here"
            )
            return False
        return _budget(request, body, asked if isinstance(asked, int) else _BUDGETS[asked])
    body["thinking"] = {"type": "adaptive"}
    effort = _effort(request, asked)
    if effort is not None:
        body["output_config"] = {"effort": effort}
    return True


def _off(request: ChatRequest, body: dict[str, Any], kind: str, *, by_default: bool) -> bool:
    word = request.facts.quirks.get("thinking_off", "disabled")
    if word == "never":
        request.warn("dropped", "thinking", f"{request.model} cannot stop thinking")
        return by_default
    if kind != "none":
        body["thinking"] = {"type": word}
    return False


def _effort(request: ChatRequest, asked: str | int) -> str | None:
    if isinstance(asked, int):
        effort = next((word for limit, word in _BY_BUDGET if asked <= limit), "max")
        request.warn("emulated", "thinking", f"a budget of {asked} tokens was sent as the effort {effort!r}")
    else:
        effort = _EFFORTS[asked]
        if asked == "minimal":
            request.warn("clamped", "thinking", f"{request.model} knows no effort below 'low': sent 'low'")
    known = request.facts.quirks.get("effort")
    if known is None or effort in known:
        return effort
    if not known:
        return None
    sent = nearest(effort, known, _SCALE)
    request.warn("clamped", "thinking", f"{request.model} does not accept the effort {effort!r}: sent {sent!r}")
    return sent


def _budget(request: ChatRequest, body: dict[str, Any], budget: int) -> bool:
    """A budget is at least 1024 tokens and smaller than `max_tokens`, which gives way where nobody asked for it."""
    wanted = max(budget, MIN_BUDGET)
    if wanted != budget:
        request.warn("clamped", "thinking", f"a budget is at least {MIN_BUDGET} tokens: sent {MIN_BUDGET}")
    limit = body["max_tokens"]
    if request.params.max_tokens is None and limit < wanted + _ROOM:
        most = request.facts.max_output_tokens
        limit = body["max_tokens"] = wanted + _ROOM if most is None else min(wanted + _ROOM, most)
    if wanted >= limit:
        if limit <= MIN_BUDGET:
            request.warn("dropped", "thinking", f"max_tokens leaves no room for it: it needs more than {MIN_BUDGET}")
            return False
        wanted = max(MIN_BUDGET, limit // 2)
        request.warn("clamped", "thinking", f"a budget must be smaller than max_tokens: sent {wanted}")
    body["thinking"] = {"type": "enabled", "budget_tokens": wanted}
    return True
