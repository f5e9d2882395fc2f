"""What the Messages API refuses about a request as a whole; `anthropic_content` holds the rules about its messages.

What depends on the model comes from the packaged table: server and client never disagree by accident of names.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.types import ModelFacts
from core.llm.testing.anthropic_content import BadRequest, check_cache_control, check_messages, check_text_blocks

_FIELDS: Final = frozenset(
    {"model", "messages", "system", "max_tokens", "metadata", "stop_sequences", "stream", "temperature", "top_p",
     "top_k", "tools", "tool_choice", "thinking", "output_config", "cache_control", "service_tier", "container",
     "context_management", "mcp_servers", "inference_geo", "diagnostics", "speed"}
)  # fmt: skip
_COUNT_FIELDS: Final = frozenset(
    {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control",
     "context_management", "mcp_servers", "speed"}
)  # fmt: skip
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TOOL_FIELDS: Final = frozenset(
    {"name", "description", "input_schema", "strict", "cache_control", "type", "defer_loading", "allowed_callers",
     "input_examples", "eager_input_streaming"}
)  # fmt: skip
_UNSUPPORTED: Final = ("minimum", "maximum", "minLength", "maxLength", "pattern", "multipleOf", "maxItems", "oneOf")
MAX_BREAKPOINTS: Final = 4
MIN_BUDGET: Final = 1024


def check_request(body: Mapping[str, Any], facts: ModelFacts, *, counting: bool = False) -> None:
    """Refuse *body* where the API would.

    Raises:
        BadRequest: with the words of the API, as far as they are known.
    """
    for name in body:
        if name not in (_COUNT_FIELDS if counting else _FIELDS):
            raise BadRequest(f"{name}: Extra inputs are not permitted")
    for name in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if body.get(name) is None:
            raise BadRequest(f"{name}: Field required")
    if not counting:
        _check_max_tokens(body["max_tokens"], facts)
        _check_sampling(body, facts)
    _check_thinking(body, facts)
    _check_output(body, facts)
    _check_tools(body, facts)
    if "system" in body:
        check_text_blocks(body["system"], "system")
    check_messages(body, facts)
    _check_breakpoints(body)


def _check_max_tokens(value: Any, facts: ModelFacts) -> None:
    if type(value) is not int or value < 0:
        raise BadRequest("max_tokens: Input should be a valid integer greater than or equal to 0")
    most = facts.max_output_tokens
    if most is not None and value > most:
        raise BadRequest(f"max_tokens: {value} > {most}, which is the maximum allowed number of output tokens")


def _check_sampling(body: Mapping[str, Any], facts: ModelFacts) -> None:
    rule = facts.quirks.get("sampling")
    given = [name for name in ("temperature", "top_p", "top_k") if name in body]
    if given and rule == "never":
        raise BadRequest(f"`{given[0]}` is deprecated for this model.")
    if rule == "one" and {"temperature", "top_p"} <= set(given):
        raise BadRequest("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    for name in ("temperature", "top_p"):
        if name in body and not (isinstance(body[name], int | float) and 0 <= body[name] <= 1):
            raise BadRequest(f"{name}: range: 0..1")
    if "top_k" in body and (type(body["top_k"]) is not int or body["top_k"] < 0):
        raise BadRequest("top_k: Input should be greater than or equal to 0")
    for index, stop in enumerate(body.get("stop_sequences", ())):
        if not isinstance(stop, str) or not stop.strip():
            raise BadRequest(f"stop_sequences.{index}: each stop sequence must contain non-whitespace")
    metadata = body.get("metadata")
    if metadata is not None and not (isinstance(metadata, dict) and metadata.keys() <= {"user_id"}):
        raise BadRequest("metadata: Extra inputs are not permitted")


def _check_thinking(body: Mapping[str, Any], facts: ModelFacts) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    modes = facts.quirks.get("thinking")
    match kind:
        case "enabled":
            _check_budget(body, thinking)
            if modes == "adaptive":
                raise BadRequest('thinking.type.enabled is not supported for this model. Use "adaptive".')
        case "adaptive":
            if modes == "budget":
                raise BadRequest("adaptive thinking is not supported on this model")
        case "disabled" | "between_tools":
            if kind != facts.quirks.get("thinking_off", "disabled"):
                raise BadRequest(f"thinking.type: {kind} is not supported on this model")
        case _:
            raise BadRequest("thinking.type: Input tag does not match any of the expected tags")
    unknown = thinking.keys() - {"type", "budget_tokens", "display", "block_binding"}
    if unknown or ("budget_tokens" in thinking and kind != "enabled"):
        raise BadRequest(f"thinking.{kind}: Extra inputs are not permitted")
    if thinking.get("display") not in {None, "summarized", "omitted"}:
        raise BadRequest("thinking.display: Input should be 'summarized' or 'omitted'")


def _check_budget(body: Mapping[str, Any], thinking: Mapping[str, Any]) -> None:
    budget = thinking.get("budget_tokens")
    if type(budget) is not int or budget < MIN_BUDGET:
        raise BadRequest(f"thinking.enabled.budget_tokens: Input should be greater than or equal to {MIN_BUDGET}")
    if "max_tokens" in body and budget >= body["max_tokens"]:
        raise BadRequest("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("temperature", 1) != 1:
        raise BadRequest("`temperature` may only be set to 1 when thinking is enabled.")
    if "top_k" in body:
        raise BadRequest("`top_k` must be unset when thinking is enabled.")
    if body.get("top_p", 1) < 0.95:
        raise BadRequest("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")


def _check_output(body: Mapping[str, Any], facts: ModelFacts) -> None:
    config = body.get("output_config")
    if config is None:
        return
    if not isinstance(config, dict) or not config.keys() <= {"effort", "format", "task_budget"}:
        raise BadRequest("output_config: Extra inputs are not permitted")
    efforts = facts.quirks.get("effort", ["low", "medium", "high", "xhigh", "max"])
    if "effort" in config and config["effort"] not in efforts:
        levels = ", ".join(sorted(efforts))
        raise BadRequest(f"This model does not support effort level '{config['effort']}'. Supported levels: {levels}.")
    if "format" in config:
        if facts.quirks.get("structured") == "tool":
            raise BadRequest("output_config.format: not supported on this model")
        if config["format"].get("type") != "json_schema" or not isinstance(config["format"].get("schema"), dict):
            raise BadRequest("output_config.format: a JSON schema is required")
        check_schema(config["format"]["schema"], "output_config.format.schema")


def check_schema(schema: Any, where: str) -> None:
    """Refuse a schema that is outside of what strict tools and structured output understand.

    Raises:
        BadRequest: it names the first offence.
    """
    if isinstance(schema, list):
        for one in schema:
            check_schema(one, where)
    if not isinstance(schema, dict):
        return
    for keyword in _UNSUPPORTED:
        if keyword in schema and isinstance(schema.get("type"), str):
            raise BadRequest(f"{where}: For '{schema['type']}' type, property '{keyword}' is not supported")
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise BadRequest(f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for key, child in schema.items():
        if key in {"properties", "$defs", "definitions"} and isinstance(child, dict):
            for one in child.values():
                check_schema(one, where)
        elif key in {"items", "anyOf", "allOf"}:
            check_schema(child, where)


def _check_tools(body: Mapping[str, Any], facts: ModelFacts) -> None:
    tools = body.get("tools", [])
    names: set[str] = set()
    for index, tool in enumerate(tools):
        where = f"tools.{index}"
        name = tool.get("name")
        if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
            raise BadRequest(f"{where}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if name in names:
            raise BadRequest("tools: Tool names must be unique.")
        names.add(name)
        if tool.get("type", "custom") != "custom":
            continue
        if unknown := tool.keys() - _TOOL_FIELDS:
            raise BadRequest(f"{where}.custom.{min(unknown)}: Extra inputs are not permitted")
        schema = tool.get("input_schema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise BadRequest(f"{where}.custom.input_schema.type: Input should be 'object'")
        if tool.get("strict"):
            check_schema(schema, f"{where}.custom.input_schema")
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not tools:
        raise BadRequest("tool_choice: may only be specified while providing tools.")
    kind = choice.get("type")
    if kind not in {"auto", "any", "tool", "none"}:
        raise BadRequest("tool_choice.type: Input tag does not match any of the expected tags")
    allowed = {
        "type",
        *(("name",) if kind == "tool" else ()),
        *(() if kind == "none" else ("disable_parallel_tool_use",)),
    }
    if choice.keys() - allowed:
        raise BadRequest(f"tool_choice.{kind}: Extra inputs are not permitted")
    if kind == "tool" and choice.get("name") not in names:
        raise BadRequest(f"Tool '{choice.get('name')}' not found in provided tools")
    if kind in {"any", "tool"}:
        if facts.quirks.get("forced_tools") is False:
            raise BadRequest(f"tool_choice: '{kind}' is not supported on this model")
        if (body.get("thinking") or {}).get("type") == "enabled":
            raise BadRequest("Thinking may not be enabled when tool_choice forces tool use.")


def _check_breakpoints(body: Mapping[str, Any]) -> None:
    marks = [mark for mark in _marks(body) if mark is not None]
    for mark in marks:
        check_cache_control(mark)
    if len(marks) > MAX_BREAKPOINTS:
        raise BadRequest(
            f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marks)}."
        )


def _marks(node: Any) -> list[Any]:
    if isinstance(node, list):
        return [mark for one in node for mark in _marks(one)]
    if isinstance(node, dict):
        own = [node["cache_control"]] if "cache_control" in node else []
        return own + [mark for key in ("tools", "system", "messages", "content") for mark in _marks(node.get(key))]
    return []
