"""Chat requests as bodies of Converse: our parameters by its names and within the rules of the model."""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.exceptions import RequestError
from core.llm.dialects.left_out import report_choice
from core.llm.providers.base.request import ChatRequest, NamedTool, ToolDefinition
from core.llm.providers.bedrock.config import BedrockConfig, PromptCacheOptions
from core.llm.providers.bedrock.messages import Conversation
from core.llm.providers.bedrock.naming import wire_tool_name
from core.llm.providers.bedrock.schema import closed_schema
from core.llm.providers.bedrock.structured import encode_structured
from core.llm.providers.bedrock.thinking import encode_thinking

_INFERENCE: Final = (("max_tokens", "maxTokens"), ("temperature", "temperature"), ("top_p", "topP"))
_SAMPLING: Final = frozenset({"temperature", "top_p", "top_k"})
_UNKNOWN: Final = ("seed", "frequency_penalty", "presence_penalty", "user")
# Fields that decide what is asked; raw fields must not change them.
_RESERVED: Final = frozenset({"messages", "system", "modelId"})
_MERGED: Final = frozenset({"inferenceConfig", "additionalModelRequestFields", "outputConfig", "toolConfig"})


def encode_body(request: ChatRequest, config: BedrockConfig) -> dict[str, Any]:
    """The body of *request*; adds to its warnings what had to be left out.

    Raises:
        UnsupportedFeature: the request needs something that cannot be left out.
        RequestError: a part cannot be written at all.
    """
    conversation = Conversation(request)
    if not conversation.messages:
        raise RequestError("the conversation holds nothing to answer: Bedrock wants at least one message with text")
    request.warn_of_ending()
    body: dict[str, Any] = {"messages": conversation.messages}
    if conversation.system:
        body["system"] = conversation.system
    fields: dict[str, Any] = {}
    thinks = encode_thinking(request, body, fields)
    _sampling(request, body, fields, thinks=thinks)
    _tools(request, body, conversation, thinks=thinks)
    encode_structured(request, body)
    if fields:
        body["additionalModelRequestFields"] = fields
    if config.guardrail is not None:
        _guardrail(request, config, body)
    if config.prompt_cache is not None:
        _cache_points(request, config.prompt_cache, body)
    _raw_fields(request, body)
    return body


def count_body(request: ChatRequest, config: BedrockConfig) -> dict[str, Any]:
    """The body that asks for the number of prompt tokens of *request*."""
    body = encode_body(request, config)
    kept = ("messages", "system", "toolConfig", "additionalModelRequestFields")
    return {"input": {"converse": {name: body[name] for name in kept if name in body}}}


def _sampling(request: ChatRequest, body: dict[str, Any], fields: dict[str, Any], *, thinks: bool) -> None:
    params, quirks = request.params, request.facts.quirks
    inference: dict[str, Any] = {}
    for name, wire in _INFERENCE:
        value = getattr(params, name)
        if value is None:
            continue
        if reason := _refused(request, name, thinks=thinks):
            request.warn("dropped", name, reason)
        elif name == "temperature" and value > 1:
            request.warn("clamped", name, f"Bedrock takes temperatures up to 1, not {value:g}")
            inference[wire] = 1.0
        else:
            inference[wire] = value
    if params.stop:
        inference["stopSequences"] = list(params.stop)
    if inference:
        body.setdefault("inferenceConfig", {}).update(inference)
    if params.top_k is not None:
        place = quirks.get("top_k")
        reason = _refused(request, "top_k", thinks=thinks)
        if reason or not isinstance(place, str):
            request.warn("dropped", "top_k", reason or f"Bedrock has no top_k, and {request.model} none that is known")
        else:
            outer, _, inner = place.rpartition(".")
            (fields.setdefault(outer, {}) if outer else fields)[inner] = params.top_k
    for name in _UNKNOWN:
        if getattr(params, name) is not None:
            request.warn("dropped", name, f"Bedrock has no {name}")


def _refused(request: ChatRequest, name: str, *, thinks: bool) -> str:
    """Why *name* cannot be sent, or an empty string."""
    if name not in _SAMPLING:
        return ""
    quirks, params = request.facts.quirks, request.params
    sampling = quirks.get("sampling")
    if sampling == "never":
        return f"{request.model} does not accept {name}"
    if thinks and quirks.get("thinking") in {"budget", "adaptive"}:
        return f"{request.model} does not accept {name} while it thinks"
    if sampling == "one" and name == "top_p" and params.temperature is not None:
        return f"{request.model} takes temperature or top_p, not both"
    return ""


def _tools(request: ChatRequest, body: dict[str, Any], conversation: Conversation, *, thinks: bool) -> None:
    params = request.params
    choice = params.tool_choice
    tools = params.tools or ()
    if not tools:
        report_choice(request)
    if choice == "none" and tools and not conversation.has_tools:
        # Bedrock has no word for it, but a model that is told of no tools calls none.
        return
    specs = [_tool(request, tool) for tool in tools]
    known = {spec["toolSpec"]["name"] for spec in specs}
    if conversation.has_tools:
        # A history with calls or results is refused without the tools it speaks of.
        missing = [name for name in conversation.tool_names if name not in known]
        if not specs and not missing:
            missing = ["unknown_tool"]
        specs += [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in missing]
    if not specs:
        return
    body["toolConfig"] = config = {"tools": specs}
    if choice == "none":
        request.warn("dropped", "tool_choice", "Bedrock cannot forbid tools that the conversation already speaks of")
    elif choice is not None and tools:
        _tool_choice(request, choice, config, thinks=thinks)
    if params.parallel_tool_calls is False and tools:
        request.warn("dropped", "parallel_tool_calls", "Bedrock cannot forbid several calls at once")


def _tool_choice(request: ChatRequest, choice: NamedTool | str, config: dict[str, Any], *, thinks: bool) -> None:
    if choice == "auto":
        config["toolChoice"] = {"auto": {}}
        return
    quirks = request.facts.quirks
    if quirks.get("tool_choice") == "auto":
        request.warn("dropped", "tool_choice", f"{request.model} cannot be forced to call a tool")
    elif thinks and quirks.get("thinking") in {"budget", "adaptive"}:
        request.warn("dropped", "tool_choice", f"{request.model} cannot be forced to call a tool while it thinks")
    elif isinstance(choice, NamedTool):
        config["toolChoice"] = {"tool": {"name": wire_tool_name(choice.name)}}
    else:
        config["toolChoice"] = {"any": {}}


def _tool(request: ChatRequest, tool: ToolDefinition) -> dict[str, Any]:
    name = wire_tool_name(tool.name)
    if name != tool.name:
        request.warn("renamed", "tools", f"Bedrock does not allow the tool name {tool.name!r}: {name!r} was sent")
    schema: Any = tool.parameters
    spec: dict[str, Any] = {"name": name}
    if tool.description.strip():
        spec["description"] = tool.description
    if tool.strict:
        weakened: set[str] = set()
        closed = closed_schema(schema, weakened) if request.facts.quirks.get("strict_tools") else None
        if closed is None:
            request.warn("dropped", "tools", f"{request.model} does not guarantee the schema of {tool.name}")
        else:
            schema, spec["strict"] = closed, True
            if weakened:
                said = f"Bedrock does not enforce {', '.join(sorted(weakened))} in the arguments of {tool.name}"
                request.warn("other", "tools", said)
    spec["inputSchema"] = {"json": schema}
    return {"toolSpec": spec}


def _guardrail(request: ChatRequest, config: BedrockConfig, body: dict[str, Any]) -> None:
    guardrail = config.guardrail
    if guardrail is None:
        return
    sent: dict[str, Any] = {"guardrailIdentifier": guardrail.id, "guardrailVersion": guardrail.version}
    if guardrail.trace is not None:
        sent["trace"] = guardrail.trace
    if guardrail.stream is not None and request.stream:
        sent["streamProcessingMode"] = guardrail.stream
    body["guardrailConfig"] = sent
    if guardrail.only_last_message and (last := body["messages"][-1])["role"] == "user":
        last["content"] = [
            {"guardContent": {"text": {"text": block["text"]}}} if "text" in block else block
            for block in last["content"]
        ]


def _cache_points(request: ChatRequest, options: PromptCacheOptions, body: dict[str, Any]) -> None:
    facts = request.facts
    if not facts.quirks.get("prompt_cache", not facts.capabilities):
        # Models without a prompt cache refuse the marks.
        return
    mark: dict[str, Any] = {"cachePoint": {"type": "default"}}
    if options.ttl is not None:
        mark["cachePoint"]["ttl"] = options.ttl
    if "tools" in options.at and "toolConfig" in body and facts.quirks.get("cache_tools", True):
        body["toolConfig"]["tools"].append(mark)
    if "system" in options.at and "system" in body:
        body["system"] = [*body["system"], mark]
    if "messages" in options.at and (last := body["messages"][-1])["role"] == "user":
        last["content"] = [*last["content"], mark]


def _raw_fields(request: ChatRequest, body: dict[str, Any]) -> None:
    for name, value in request.extra.items():
        if name in _RESERVED:
            request.warn("dropped", name, f"the raw field {name!r} is not sent: set it in the request itself")
        elif name in _MERGED and isinstance(value, Mapping) and name in body:
            body[name] = {**body[name], **value}
        else:
            body[name] = value
