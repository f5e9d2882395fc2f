"""One scale of thinking, put into a level or a budget, whichever the model has; never both."""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.dialects.efforts import nearest
from core.llm.providers.base.request import ChatRequest

_SCALE: Final = ("minimal", "low", "medium", "high", "xhigh")
_BUDGET_LIMITS: Final = ((1024, "minimal"), (4096, "low"), (16384, "medium"))
_BUDGETS: Final = {"off": 0, "minimal": 512, "low": 2048, "medium": 8192, "high": 24576}


def thinking_config(request: ChatRequest) -> dict[str, Any] | None:
    """The `thinkingConfig` for what was asked, or `None` where nothing is to be sent."""
    asked = request.params.thinking
    if asked is None:
        return None
    facts = request.facts.quirks
    match facts.get("thinking", "level"):
        case "none":
            if asked != "off":
                request.warn("dropped", "thinking", f"{request.model} does not think")
            return None
        case "budget":
            budget = _budget(request, facts, asked)
            return {"thinkingBudget": budget} if budget == 0 else {"thinkingBudget": budget, "includeThoughts": True}
        case _:
            level = _level(request, facts, asked)
            config: dict[str, Any] = {"thinkingLevel": level.upper()}
            return config if asked == "off" else {**config, "includeThoughts": True}


def _budget(request: ChatRequest, facts: Mapping[str, Any], asked: str | int) -> int:
    least, most = facts.get("thinking_budget", (0, 24576))
    if asked == "max":
        return int(most)
    wanted = asked if isinstance(asked, int) else _BUDGETS[asked]
    if wanted == 0:
        if facts.get("thinking_off", least == 0):
            return 0
        request.warn(
            "clamped", "thinking", f"{request.model} cannot stop thinking: its smallest budget {least} was sent"
        )
        return int(least)
    budget = int(min(max(wanted, least), most))
    if budget != wanted and isinstance(asked, int):
        request.warn("clamped", "thinking", f"{request.model} takes budgets from {least} to {most}: sent {budget}")
    return budget


def _level(request: ChatRequest, facts: Mapping[str, Any], asked: str | int) -> str:
    known = [level for level in _SCALE if level in facts.get("levels", ("minimal", "low", "medium", "high"))]
    if isinstance(asked, int):
        wanted = next((word for limit, word in _BUDGET_LIMITS if asked <= limit), "high")
        level = nearest(wanted, known, _SCALE)
        request.warn("emulated", "thinking", f"a budget of {asked} tokens was sent as the level {level!r}")
        return level
    if asked == "max":
        return known[-1]
    if asked == "off":
        request.warn(
            "clamped", "thinking", f"{request.model} cannot stop thinking: its lowest level {known[0]!r} was sent"
        )
        return known[0]
    level = nearest(asked, known, _SCALE)
    if level != asked:
        request.warn("clamped", "thinking", f"{request.model} does not know the level {asked!r}: sent {level!r}")
    return level
