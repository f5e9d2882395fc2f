"""One scale of thinking, put into the words each server and model has for it."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from core.llm.dialects.efforts import nearest
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.request import ChatRequest

_SCALE: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_WORDS: Final = {"off": "none", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "max": "max"}
_TOP: Final = frozenset({"xhigh", "max"})
_BUDGETS: Final = ((1024, "minimal"), (4096, "low"), (16384, "medium"), (32768, "high"))


def encode_thinking(
    request: ChatRequest, quirks: OpenAIQuirks, body: dict[str, Any], *, most: Literal["xhigh", "max"] = "xhigh"
) -> bool:
    """Write the thinking that was asked for into *body*; returns whether the model will think, as far as is known.

    *most* is the highest effort that the endpoint takes, whatever the model could do.
    """
    asked = request.params.thinking
    facts = request.facts.quirks
    default = facts.get("default_effort", "none")
    if asked is None:
        return bool(default != "none")
    if quirks.thinking == "none" or (quirks.thinking == "reasoning_effort" and facts.get("effort") == []):
        if asked != "off":
            request.warn("dropped", "thinking", f"{request.model} has no switch for thinking")
        return bool(default != "none")
    if quirks.thinking == "reasoning" and isinstance(asked, int):
        body["reasoning"] = {"max_tokens": asked}
        return True
    effort = _nearest(request, facts, _effort(request, asked), most)
    thinks = effort != "none"
    match quirks.thinking:
        case "reasoning_effort":
            body["reasoning_effort"] = effort
        case "reasoning":
            body["reasoning"] = {"effort": effort} if thinks else {"enabled": False}
        case "thinking":
            body["thinking"] = {"type": "enabled" if thinks else "disabled"}
        case "enable_thinking":
            body["enable_thinking"] = thinks
        case _:
            body["chat_template_kwargs"] = {"enable_thinking": thinks}
    if quirks.thinking not in {"reasoning_effort", "reasoning"} and asked not in {"off", "medium"}:
        request.warn("clamped", "thinking", f"{request.provider} knows only on and off: {asked} became on")
    return thinks


def will_think(request: ChatRequest) -> bool:
    """What `encode_thinking` would return: whether the model thinks, as far as its facts tell."""
    asked, facts = request.params.thinking, request.facts.quirks
    known = facts.get("effort")
    if asked is None or known == []:
        return bool(facts.get("default_effort", "none") != "none")
    return asked != "off" or (known is not None and "none" not in known)


def _effort(request: ChatRequest, asked: str | int) -> str:
    if isinstance(asked, str):
        return _WORDS[asked]
    effort = next((word for limit, word in _BUDGETS if asked <= limit), "xhigh")
    request.warn("emulated", "thinking", f"a budget of {asked} tokens was sent as the effort {effort!r}")
    return effort


def _nearest(request: ChatRequest, facts: Mapping[str, Any], effort: str, most: str) -> str:
    """*effort*, or the closest one that the model is known to accept and the endpoint takes."""
    known = facts.get("effort")
    if not known:
        # Without facts: `xhigh` and `max` are the words that most servers do not know.
        return "high" if effort in _TOP else effort
    if effort in known and (effort != "max" or most == "max"):
        return effort
    # Little thinking is still thinking: only what asks for none may become none.
    words = [
        word for word in _SCALE[: _SCALE.index(most) + 1] if word in known and (word != "none" or effort == "none")
    ]
    sent = nearest(effort, words or known, _SCALE)
    if effort in known:
        said = f"the effort {effort!r} of {request.model} is for the Responses endpoint only: sent {sent!r}"
        request.warn("clamped", "thinking", said)
    elif effort not in _TOP or sent not in {"high", "xhigh"}:
        # As much as the model can is what `max` means, whatever the model calls it.
        request.warn("clamped", "thinking", f"{request.model} does not accept the effort {effort!r}: sent {sent!r}")
    return sent
