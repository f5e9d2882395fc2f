"""Requests in the Messages format: our parameters by the names and within the rules of API and model."""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.dialects import anthropic_cache
from core.llm.dialects.anthropic_cache import CacheMarks
from core.llm.dialects.anthropic_history import encode_history, lacks_thinking
from core.llm.dialects.anthropic_quirks import DEFAULT_MAX_TOKENS, AnthropicQuirks
from core.llm.dialects.anthropic_thinking import encode_thinking
from core.llm.dialects.anthropic_tools import answer_tool, encode_format, encode_tools
from core.llm.dialects.left_out import report_choice
from core.llm.providers.base.request import ChatRequest

# Fields that decide how the answer is read; raw fields must not change them.
_RESERVED: Final = frozenset({"stream", "messages", "model"})
# Fields of `extra` that are not part of the body.
_NOT_BODY: Final = frozenset({anthropic_cache.FIELD, "betas"})
_UNKNOWN: Final = ("seed", "frequency_penalty", "presence_penalty")
_COUNTED: Final = frozenset(
    {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control", "mcp_servers",
     "context_management", "speed"}
)  # fmt: skip


def encode_body(request: ChatRequest, quirks: AnthropicQuirks) -> dict[str, Any]:
    """The JSON body of *request*; adds to its warnings what had to be left out.

    Raises:
        UnsupportedFeature: the request needs something that cannot be left out.
        RequestError: a part cannot be written at all.
    """
    params = request.params
    marks = CacheMarks(request, quirks.prompt_cache)
    answer = answer_tool(request, quirks)
    body: dict[str, Any] = {"model": request.model} if quirks.body_model else {}
    request.warn_of_ending()
    body["max_tokens"] = _max_tokens(request)
    system, turns = encode_history(request, quirks, marks)
    if request.stream:
        body["stream"] = True
    body.update(quirks.extra)
    thinks = encode_thinking(request, body, history_lacks_thinking=lacks_thinking(turns))
    _sampling(request, body, thinks=thinks)
    if params.tools or answer is not None:
        encode_tools(request, quirks, body, marks, answer)
    elif params.tool_choice is not None:
        report_choice(request)
    addition = encode_format(request, quirks, body, answer)
    if addition:
        system.append({"type": "text", "text": addition})
    if system:
        body["system"] = system[0]["text"] if len(system) == 1 and len(system[0]) == 2 else system
    body["messages"] = turns
    if marks.automatic is not None:
        body["cache_control"] = marks.automatic
    _patch(request, body)
    return body


def count_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The part of *body* that the counting endpoint takes."""
    return {name: value for name, value in body.items() if name in _COUNTED}


def betas_of(request: ChatRequest, quirks: AnthropicQuirks) -> str:
    """The value of the `anthropic-beta` header, empty where there is none."""
    asked = request.extra.get("betas") or ()
    names = [asked] if isinstance(asked, str) else asked
    return ",".join(dict.fromkeys([*quirks.betas, *names]))


def _max_tokens(request: ChatRequest) -> int:
    """The API refuses requests without a limit: the caller's, else the most the model can do, else a default."""
    asked, most = request.params.max_tokens, request.facts.max_output_tokens
    if asked is None:
        return DEFAULT_MAX_TOKENS if most is None else most
    if most is not None and asked > most:
        request.warn("clamped", "max_tokens", f"{request.model} generates at most {most} tokens: sent {most}")
        return most
    return asked


def _sampling(request: ChatRequest, body: dict[str, Any], *, thinks: bool) -> None:
    params = request.params
    for name in _UNKNOWN:
        if getattr(params, name) is not None:
            request.warn("dropped", name, f"the Messages format has no {name}")
    for name in ("temperature", "top_p", "top_k"):
        value = getattr(params, name)
        if value is None:
            continue
        reason = _refused(request, body, name, value, thinks=thinks)
        if reason:
            request.warn("dropped", name, reason)
        elif name == "temperature" and value > 1:
            request.warn("clamped", name, "Claude's temperatures end at 1: sent 1")
            body[name] = 1.0
        else:
            body[name] = value
    if params.stop is not None:
        stops = [stop for stop in params.stop if stop.strip()]
        if len(stops) < len(params.stop):
            request.warn("dropped", "stop", "a stop sequence of white space only: the API refuses it")
        if stops:
            body["stop_sequences"] = stops
    if params.user is not None:
        body["metadata"] = {"user_id": params.user}


def _refused(request: ChatRequest, body: Mapping[str, Any], name: str, value: float, *, thinks: bool) -> str:
    """Why *name* cannot be sent, or an empty string."""
    rule = request.facts.quirks.get("sampling")
    if rule == "never":
        return f"{request.model} does not accept {name}"
    if thinks and not (name == "temperature" and value == 1) and not (name == "top_p" and value >= 0.95):
        return f"{request.model} does not accept {name} while it thinks"
    if rule == "one" and name == "top_p" and "temperature" in body:
        return f"{request.model} accepts temperature or top_p, not both"
    return ""


def _patch(request: ChatRequest, body: dict[str, Any]) -> None:
    """Lay the raw fields of the request over *body*: objects are merged, tools are added, `None` removes."""
    for name, value in request.extra.items():
        if name in _NOT_BODY:
            continue
        if name in _RESERVED:
            request.warn("dropped", name, f"the raw field {name!r} is not sent: set it in the request itself")
        elif value is None:
            body.pop(name, None)
        elif name == "tools" and isinstance(value, list | tuple):
            body["tools"] = [*body.get("tools", ()), *value]
        elif isinstance(value, Mapping) and isinstance(body.get(name), Mapping):
            body[name] = _merged(body[name], value)
        elif name != "thinking" or not isinstance(value, Mapping) or "type" in value:
            body[name] = value
        elif request.facts.quirks.get("default_thinking"):
            # What only refines thinking (how it is displayed, what it is bound to) means nothing where there is none.
            body[name] = {"type": "adaptive", **value}


def _merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    if "type" in patch and patch["type"] != base.get("type"):
        return dict(patch)
    out = dict(base)
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(out.get(name), Mapping):
            out[name] = _merged(out[name], value)
        else:
            out[name] = value
    return out
