"""How one model is asked for an object: natively, as the arguments of a tool, or in words. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic_core import to_json

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.messages import Message, TextPart
from core.llm.common.types import CallWarning, ModelFacts
from core.llm.providers.base.request import LLMRequest, NamedTool, ResponseFormat, ToolDefinition
from core.llm.structured.form import in_an_object, is_object

Way = Literal["native", "tool", "prompt"]


@dataclass(frozen=True, slots=True)
class Ask:
    """The request to send, and how its answer is to be read."""

    request: LLMRequest
    wanted: ResponseFormat
    """With an object at the root of its schema, where the model to read it by is known."""
    way: Way
    tool: str | None = None
    """Name of the tool whose arguments are the answer."""
    warnings: tuple[CallWarning, ...] = ()


def ask(request: LLMRequest, wanted: ResponseFormat, facts: ModelFacts, where: str) -> Ask:
    """*request* as the model with *facts* is best asked for *wanted*; *where* names that model in messages.

    Raises:
        UnsupportedFeature: the request insists on a way that the model is known not to have.
    """
    way = _way(request, wanted, facts, where)
    wanted = in_an_object(wanted)
    if way == "native":
        sent = request if wanted is request.response_format else request.model_copy(update={"response_format": wanted})
        return Ask(sent, wanted, way)
    chosen = wanted.mode != "auto"
    if way == "tool":
        sent, tool = _with_tool(request, wanted)
        text = "the object was asked for as the arguments of a tool"
        reason = "as the request wants" if chosen else f"{where} takes no JSON schema"
        return Ask(sent, wanted, way, tool, (CallWarning("emulated", f"{text}: {reason}", "response_format"),))
    reason = "as the request wants" if chosen else f"{where} has no mode for it"
    warning = CallWarning("emulated", f"the object was asked for in words: {reason}", "response_format")
    return Ask(_in_words(request, wanted), wanted, way, None, (warning,))


def ask_again(asked: Ask, text: str, problems: str) -> LLMRequest:
    """The same question once more, after *text* was answered, which has *problems*."""
    said = (Message("assistant", text),) if text.strip() else ()
    correction = Message(
        "user",
        f"That answer cannot be used: {problems}. Answer again, with the corrected JSON and nothing else."
        + (f" Give it by calling the tool {asked.tool}." if asked.tool else ""),
    )
    return asked.request.model_copy(update={"messages": (*asked.request.messages, *said, correction)})


def _way(request: LLMRequest, wanted: ResponseFormat, facts: ModelFacts, where: str) -> Way:
    has_schema = not facts.lacks("json_schema") if wanted.schema is not None else not facts.lacks("json")
    match wanted.mode:
        case "native":
            if not has_schema:
                raise UnsupportedFeature(f"{where} has no structured output of its own: use mode 'auto'")
            return "native"
        case "tool":
            if facts.lacks("tools") or wanted.schema is None:
                what = "a schema to make a tool of is missing" if wanted.schema is None else f"{where} takes no tools"
                raise UnsupportedFeature(f"{what}: use mode 'auto'")
            return "tool"
        case "prompt":
            return "prompt"
    if has_schema:
        return "native"
    return "tool" if _can_be_forced(request, wanted, facts) else "prompt"


def _can_be_forced(request: LLMRequest, wanted: ResponseFormat, facts: ModelFacts) -> bool:
    """Whether the model surely answers by a tool when it is told to."""
    if facts.lacks("tools") or wanted.schema is None:
        return False
    if wanted.model is None and not is_object(wanted.schema):
        return False
    quirks = facts.quirks
    if quirks.get("forced_tools") is False or quirks.get("tool_choice") == "auto":
        return False
    return request.thinking in {None, "off"}


def _with_tool(request: LLMRequest, wanted: ResponseFormat) -> tuple[LLMRequest, str]:
    name = wanted.plain_name(60)
    tools = request.tools or ()
    taken = {tool.name for tool in tools}
    while name in taken:
        name += "_"
    description = "Give the final answer to the user as the arguments of this tool, exactly once."
    own = ToolDefinition(name, description, wanted.schema or {})
    # A model that must call something calls either a tool of the caller's or the one that carries the answer.
    choice: Any = "required" if tools and request.tool_choice != "none" else NamedTool(name)
    if isinstance(request.tool_choice, NamedTool):
        choice = request.tool_choice
    changes: Mapping[str, Any] = {"tools": (*tools, own), "tool_choice": choice, "response_format": None}
    return request.model_copy(update=dict(changes)), name


def _in_words(request: LLMRequest, wanted: ResponseFormat) -> LLMRequest:
    text = "Answer with one JSON object and nothing else: no explanation, no code fence."
    if wanted.schema is not None:
        text += f" It must fit this JSON schema:\n{to_json(wanted.schema).decode()}"
    first, *rest = request.messages
    if first.role == "system":
        # One system message: the chat templates of some models refuse a second one.
        content = f"{first.content}\n\n{text}" if isinstance(first.content, str) else (*first.content, TextPart(text))
        messages: tuple[Message, ...] = (replace(first, content=content), *rest)
    else:
        messages = (Message("system", text), first, *rest)
    return request.model_copy(update={"messages": messages, "response_format": None})
