"""Chat requests in the OpenAI format: our parameters by the names and within the rules of server and model."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.dialects.described_schema import describe_schema
from core.llm.dialects.grammar_schema import grammar_schema
from core.llm.dialects.json import encode_json
from core.llm.dialects.left_out import report_choice
from core.llm.dialects.openai_messages import encode_messages
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_thinking import encode_thinking
from core.llm.dialects.strict_schema import strict_schema
from core.llm.providers.base.request import ChatRequest, LLMRequest, NamedTool, ResponseFormat, ToolDefinition

_SAMPLING: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_CHAT_FIELDS: Final = ("temperature", "top_p", "top_k", "stop", "seed", "frequency_penalty", "presence_penalty", "user")
# Fields that decide how the answer is read; raw fields must not change them.
_RESERVED: Final = ("stream", "messages", "input", "model")


def encode_body(request: ChatRequest, quirks: OpenAIQuirks) -> dict[str, Any]:
    """The JSON body of *request*; adds to its warnings what had to be left out.

    Raises:
        UnsupportedFeature: the request needs something that cannot be left out.
        RequestError: a part cannot be written at all.
    """
    params = request.params
    facts = request.facts.quirks
    body: dict[str, Any] = {
        "model": request.model,
        "messages": encode_messages(request, quirks, facts.get("system_role", quirks.system_role)),
    }
    request.warn_of_ending()
    if request.stream:
        body["stream"] = True
        if quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
    if quirks.extra:
        body.update(quirks.extra)
    if request.prefilled and quirks.prefill == "continue_final_message":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    thinks = encode_thinking(request, quirks, body)
    if params.max_tokens is not None:
        body[facts.get("token_cap", quirks.token_cap)] = params.max_tokens
    encode_sampling(request, quirks, body, _CHAT_FIELDS, thinks=thinks)
    if params.tools:
        _tools(request, quirks, params.tools, body, thinks=thinks)
    elif params.tool_choice is not None:
        report_choice(request)
    if params.response_format is not None:
        _structured(request, quirks, params.response_format, body)
    if request.extra:
        add_raw_fields(request, body)
    return body


def encode_bytes(request: ChatRequest, quirks: OpenAIQuirks) -> bytes:
    """As `encode_body`, as bytes."""
    return encode_json(encode_body(request, quirks))


def add_raw_fields(request: ChatRequest, body: dict[str, Any], merged: frozenset[str] = frozenset()) -> None:
    """Put the raw fields of *request* over *body*; `None` takes a field away, objects in *merged* are joined."""
    for name, value in request.extra.items():
        if name in _RESERVED:
            request.warn("dropped", name, f"the raw field {name!r} is not sent: set it in the request itself")
        elif value is None:
            body.pop(name, None)
        elif name in merged and isinstance(value, Mapping) and isinstance(body.get(name), Mapping):
            body[name] = {**body[name], **value}
        else:
            body[name] = value


def encode_sampling(
    request: ChatRequest, quirks: OpenAIQuirks, body: dict[str, Any], fields: Iterable[str], *, thinks: bool
) -> None:
    """Write those of *fields* that are set and accepted into *body*; report the others."""
    given = vars(request.params)
    for name in fields:
        value = given[name]
        if value is None:
            continue
        reason = _refused(request, quirks, name, thinks=thinks)
        if reason:
            request.warn("dropped", name, reason)
        else:
            body[quirks.seed if name == "seed" else name] = _stops(request, quirks, value) if name == "stop" else value


def _stops(request: ChatRequest, quirks: OpenAIQuirks, stops: tuple[str, ...]) -> list[str]:
    most = quirks.max_stops
    if most is not None and len(stops) > most:
        request.warn("clamped", "stop", f"{request.provider} takes {most} stop texts: the others were left out")
    return list(stops[:most])


def _refused(request: ChatRequest, quirks: OpenAIQuirks, name: str, *, thinks: bool) -> str:
    """Why *name* cannot be sent, or an empty string."""
    facts = request.facts.quirks
    if name in quirks.rejects:
        return f"{request.provider} does not accept {name}"
    if name in facts.get("rejects", ()):
        return f"{request.model} does not accept {name}"
    if name in _SAMPLING:
        match facts.get("sampling"):
            case "never":
                return f"{request.model} does not accept {name}"
            case "without_thinking" if thinks:
                return f"{request.model} does not accept {name} while it thinks"
            case "without_thinking" if name not in {"temperature", "top_p"}:
                return f"{request.model} does not accept {name}"
    return ""


def _tools(
    request: ChatRequest,
    quirks: OpenAIQuirks,
    tools: tuple[ToolDefinition, ...],
    body: dict[str, Any],
    *,
    thinks: bool,
) -> None:
    params = request.params
    if thinks and request.facts.quirks.get("tools") == "without_thinking":
        _tools_without_thinking(request, params, body)
    body["tools"] = [{"type": "function", "function": encode_function(tool, quirks)} for tool in tools]
    choice = params.tool_choice
    if isinstance(choice, NamedTool):
        body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        body["tool_choice"] = quirks.required_choice if choice == "required" else choice
    encode_parallel(request, quirks, body)


def encode_parallel(request: ChatRequest, quirks: OpenAIQuirks, body: dict[str, Any]) -> None:
    """Write whether several tools may be called at once, where that was asked for and can be said."""
    parallel = request.params.parallel_tool_calls
    if parallel is not None:
        if "parallel_tool_calls" in quirks.rejects:
            request.warn("dropped", "parallel_tool_calls", f"{request.provider} does not accept it")
        else:
            body["parallel_tool_calls"] = parallel


def _tools_without_thinking(request: ChatRequest, params: LLMRequest, body: dict[str, Any]) -> None:
    """Some models take tools here only while they do not think, and think unless told otherwise."""
    if "none" not in request.facts.quirks.get("effort", ()):
        raise UnsupportedFeature(
            f"{request.model} takes no tools on Chat Completions, because it cannot stop thinking: use another model"
        )
    body["reasoning_effort"] = "none"
    if params.thinking is not None:
        request.warn("dropped", "thinking", f"{request.model} takes tools here only without thinking")
    else:
        request.warn(
            "other", "thinking", f"{request.model} takes tools here only without thinking: it was switched off"
        )


def encode_function(tool: ToolDefinition, quirks: OpenAIQuirks) -> dict[str, Any]:
    """The function that *tool* stands for: name, parameters, and what else was given."""
    parameters: Any = tool.parameters
    strict = tool.strict
    if strict and quirks.strict_schema:
        rewritten = strict_schema(parameters)
        parameters, strict = (rewritten, True) if rewritten is not None else (parameters, None)
    function: dict[str, Any] = {"name": tool.name, "parameters": parameters}
    if tool.description:
        function["description"] = tool.description
    if strict is not None:
        function["strict"] = strict
    return function


def _structured(request: ChatRequest, quirks: OpenAIQuirks, wanted: ResponseFormat, body: dict[str, Any]) -> None:
    schema = wanted.schema
    if quirks.structured == "none":
        request.warn(
            "emulated", "response_format", f"{request.provider} has no JSON mode: the schema was only described"
        )
        _describe(schema, body)
    elif schema is None:
        body["response_format"] = {"type": "json_object"}
    elif quirks.structured == "json_object":
        request.warn(
            "emulated",
            "response_format",
            f"{request.provider} guarantees JSON, not a schema: it was described in words",
        )
        body["response_format"] = {"type": "json_object"}
        _describe(schema, body)
    else:
        body["response_format"] = {"type": "json_schema", "json_schema": encode_schema(request, quirks, wanted, schema)}


def encode_schema(
    request: ChatRequest, quirks: OpenAIQuirks, wanted: ResponseFormat, schema: Mapping[str, Any]
) -> dict[str, Any]:
    """*schema* with its name, within the rules of the server; `strict` is false where those cannot express it."""
    strict = wanted.strict
    sent: Any = schema
    weakened: set[str] = set()
    if quirks.strict_schema:
        rewritten = strict_schema(schema, weakened) if strict else None
        if rewritten is not None:
            sent = rewritten
        elif strict:
            strict = False
            request.warn("other", "response_format", "strict mode cannot express this schema: it was sent as a hint")
    elif quirks.grammar_schema:
        sent = grammar_schema(schema, weakened)
    if weakened:
        said = f"{request.provider} does not enforce {', '.join(sorted(weakened))} in a schema: checked in the answer"
        request.warn("other", "response_format", said)
    return {"name": wanted.plain_name(), "schema": sent, "strict": strict}


def _describe(schema: Mapping[str, Any] | None, body: dict[str, Any]) -> None:
    body["messages"] = [{"role": "system", "content": describe_schema(schema)}, *body["messages"]]
