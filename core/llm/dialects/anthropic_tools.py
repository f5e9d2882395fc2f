"""Tools, the choice among them, and structured output in the Messages format.

Structured output is the API's own where the model has it. Elsewhere, and for schemas that it cannot express, the answer
is asked for as the arguments of one more tool; reading the answer turns those arguments back into text.
"""

from collections.abc import Mapping
from typing import Any

from core.llm.dialects.anthropic_cache import CacheMarks
from core.llm.dialects.anthropic_quirks import AnthropicQuirks
from core.llm.dialects.anthropic_schema import claude_schema
from core.llm.dialects.described_schema import describe_schema
from core.llm.providers.base.request import ChatRequest, NamedTool, ResponseFormat, ToolDefinition


def answer_tool(request: ChatRequest, quirks: AnthropicQuirks) -> str | None:
    """Name of the tool whose arguments are the structured answer; `None` where the answer comes as text."""
    wanted = request.params.response_format
    if wanted is None or not _is_object(wanted.schema):
        return None
    if _native_schema(request, quirks, wanted) is not None:
        return None
    name = wanted.plain_name(60)
    taken = {tool.name for tool in request.params.tools or ()}
    while name in taken:
        name += "_"
    return name


def encode_tools(
    request: ChatRequest, quirks: AnthropicQuirks, body: dict[str, Any], marks: CacheMarks, answer: str | None
) -> None:
    """Write tools and tool choice into *body*; *answer* is the name from `answer_tool`."""
    params = request.params
    strict = _is_native(request, quirks)
    tools = [_tool(request, tool, strict=strict) for tool in params.tools or ()]
    if answer is not None and params.response_format is not None:
        tools.append(
            {
                "name": answer,
                "description": "Give the final answer to the user as the arguments of this tool, exactly once.",
                "input_schema": _object_schema(params.response_format.schema or {}),
            }
        )
    if not tools:
        return
    if marks.wants("tools"):
        marks.set(tools[-1])
    body["tools"] = tools
    choice = _choice(request, answer)
    if choice is not None and choice["type"] in {"any", "tool"}:
        reason = _unforceable(request, body)
        if reason:
            choice = {"type": "auto"}
            request.warn("clamped", "response_format" if params.tool_choice is None else "tool_choice", reason)
    if params.parallel_tool_calls is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice is not None:
        body["tool_choice"] = choice


def encode_format(request: ChatRequest, quirks: AnthropicQuirks, body: dict[str, Any], answer: str | None) -> str:
    """Write the output format into *body*; returns what the system text has to add, empty where nothing."""
    wanted = request.params.response_format
    if wanted is None:
        return ""
    if answer is not None:
        request.warn("emulated", "response_format", "the answer is asked for as the arguments of a tool")
        return f"Give your final answer by calling the tool {answer}." if _is_loose(body) else ""
    weakened: set[str] = set()
    schema = _native_schema(request, quirks, wanted, weakened)
    if schema is not None:
        if weakened:
            said = f"Claude does not enforce {', '.join(sorted(weakened))} in a schema: checked in the answer"
            request.warn("other", "response_format", said)
        body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
        return ""
    request.warn("emulated", "response_format", "there is no such mode here: the form was described in words")
    return describe_schema(wanted.schema)


def _is_native(request: ChatRequest, quirks: AnthropicQuirks) -> bool:
    return bool(request.facts.quirks.get("structured", quirks.structured) == "native")


def _native_schema(
    request: ChatRequest, quirks: AnthropicQuirks, wanted: ResponseFormat, weakened: set[str] | None = None
) -> dict[str, Any] | None:
    if wanted.schema is None or not _is_native(request, quirks):
        return None
    return claude_schema(wanted.schema, weakened)


def _is_object(schema: Mapping[str, Any] | None) -> bool:
    """Whether *schema* can be the arguments of a tool."""
    if schema is None:
        return False
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        target = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
        return isinstance(target, Mapping) and _is_object(target)
    return schema.get("type") == "object" or "properties" in schema


def _object_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return schema if schema.get("type") == "object" else {"type": "object", **schema}


def _tool(request: ChatRequest, tool: ToolDefinition, *, strict: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"name": tool.name}
    if tool.description:
        out["description"] = tool.description
    out["input_schema"] = _object_schema(tool.parameters)
    if tool.strict:
        schema = claude_schema(out["input_schema"]) if strict else None
        if schema is not None:
            out["input_schema"], out["strict"] = schema, True
        else:
            why = "cannot express the schema" if strict else "is not known to this model"
            request.warn("dropped", "tools", f"strict mode {why}: the tool {tool.name!r} was sent without it")
    return out


def _choice(request: ChatRequest, answer: str | None) -> dict[str, Any] | None:
    choice = request.params.tool_choice
    if isinstance(choice, NamedTool):
        return {"type": "tool", "name": choice.name}
    if answer is not None:
        # A model that must answer by tool calls either one of the caller's or the one that carries the answer.
        return {"type": "any"} if request.params.tools and choice != "none" else {"type": "tool", "name": answer}
    return None if choice is None else {"type": "any" if choice == "required" else choice}


def _unforceable(request: ChatRequest, body: dict[str, Any]) -> str:
    """Why a call cannot be forced, or an empty string."""
    if request.facts.quirks.get("forced_tools") is False:
        return f"{request.model} cannot be forced to call a tool: it was left the choice"
    thinking = body.get("thinking")
    if isinstance(thinking, Mapping) and thinking.get("type") == "enabled":
        return "with a budget for thinking no tool call can be forced: the model was left the choice"
    return ""


def _is_loose(body: Mapping[str, Any]) -> bool:
    choice = body.get("tool_choice")
    return choice is None or choice["type"] in {"auto", "any"}
