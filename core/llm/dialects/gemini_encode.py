"""Chat requests in the Gemini format: our parameters by its names and within the rules of the model."""

from collections.abc import Mapping
from typing import Any, Final

from core.llm.dialects.described_schema import describe_schema
from core.llm.dialects.gemini_contents import encode_contents
from core.llm.dialects.gemini_json_schema import gemini_json_schema
from core.llm.dialects.gemini_schema import Inexpressible, openapi_schema
from core.llm.dialects.gemini_thinking import thinking_config
from core.llm.dialects.json import encode_json
from core.llm.dialects.left_out import report_choice
from core.llm.providers.base.request import ChatRequest, NamedTool, ResponseFormat, ToolDefinition

_NAMES: Final = (
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("max_tokens", "maxOutputTokens"),
    ("stop", "stopSequences"),
    ("seed", "seed"),
    ("frequency_penalty", "frequencyPenalty"),
    ("presence_penalty", "presencePenalty"),
)
_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_MOST_STOPS: Final = 5
# The conversation decides what the answer is an answer to; raw fields must not change it.
_RESERVED: Final = frozenset({"contents", "model"})


def encode_body(request: ChatRequest, safety: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON body of *request*; adds to its warnings what had to be left out. *safety* is threshold by category.

    Raises:
        UnsupportedFeature: the request needs something that cannot be left out.
        RequestError: a part cannot be written at all.
    """
    params = request.params
    contents, system = encode_contents(request)
    body: dict[str, Any] = {"contents": contents}
    request.warn_of_ending()
    generation = _generation(request)
    if params.tools:
        body["tools"] = [{"functionDeclarations": [_declaration(request, tool) for tool in params.tools]}]
        choice = _tool_config(request, params.tools)
        if choice is not None:
            body["toolConfig"] = {"functionCallingConfig": choice}
    elif params.tool_choice is not None:
        report_choice(request)
    if params.response_format is not None:
        _structured(request, params.response_format, generation, system)
    if system:
        body["systemInstruction"] = {"parts": system}
    if generation:
        body["generationConfig"] = generation
    if safety:
        body["safetySettings"] = [{"category": name, "threshold": threshold} for name, threshold in safety.items()]
    for name, value in request.extra.items():
        if name in _RESERVED:
            request.warn("dropped", name, f"the raw field {name!r} is not sent: set it in the request itself")
        else:
            _add(body, name, value)
    return body


def encode_bytes(request: ChatRequest, safety: Mapping[str, str] | None = None) -> bytes:
    """As `encode_body`, as bytes."""
    return encode_json(encode_body(request, safety))


def _generation(request: ChatRequest) -> dict[str, Any]:
    params = request.params
    rejects = request.facts.quirks.get("rejects", ())
    config: dict[str, Any] = {}
    for name, wire in _NAMES:
        value = getattr(params, name)
        if value is None:
            continue
        if name in rejects:
            request.warn("dropped", name, f"{request.model} does not accept {name}")
            continue
        if name == "stop":
            value = list(value)
            if len(value) > _MOST_STOPS:
                request.warn("clamped", "stop", f"Gemini takes {_MOST_STOPS} stop texts: the others were left out")
                value = value[:_MOST_STOPS]
        config[wire] = value
    if params.user is not None:
        request.warn("dropped", "user", "Gemini takes no name of an end user")
    thinking = thinking_config(request)
    if thinking is not None:
        config["thinkingConfig"] = thinking
    return config


def _declaration(request: ChatRequest, tool: ToolDefinition) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description:
        declaration["description"] = tool.description
    if request.facts.quirks.get("schema") != "openapi":
        declaration["parametersJsonSchema"] = tool.parameters
        return declaration
    try:
        parameters, lost = openapi_schema(tool.parameters)
    except Inexpressible:
        parameters, lost = {"type": "OBJECT"}, ("$ref",)
    if lost:
        request.warn(
            "other", "tools", f"{request.model} does not know {', '.join(lost)} in the schema of {tool.name}: left out"
        )
    if parameters.get("properties") or parameters.get("type") != "OBJECT":
        declaration["parameters"] = parameters
    return declaration


def _tool_config(request: ChatRequest, tools: tuple[ToolDefinition, ...]) -> dict[str, Any] | None:
    params = request.params
    if params.parallel_tool_calls is False:
        request.warn("dropped", "parallel_tool_calls", "Gemini has no switch for parallel calls")
    choice = params.tool_choice
    if isinstance(choice, NamedTool):
        return {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    if choice in {None, "auto"} and any(tool.strict for tool in tools):
        # VALIDATED is AUTO with calls held to their schemas.
        return {"mode": "VALIDATED"}
    return None if choice is None else {"mode": _MODES[choice]}


def _structured(
    request: ChatRequest, wanted: ResponseFormat, config: dict[str, Any], system: list[dict[str, Any]]
) -> None:
    facts = request.facts.quirks
    if request.params.tools and facts.get("tools_with_schema") is False:
        request.warn(
            "emulated", "response_format", f"{request.model} takes no schema beside tools: it was described in words"
        )
        system.append({"text": describe_schema(wanted.schema)})
        return
    config["responseMimeType"] = "application/json"
    if wanted.schema is None:
        return
    if facts.get("schema") != "openapi":
        weakened: set[str] = set()
        config["responseJsonSchema"] = gemini_json_schema(wanted.schema, weakened)
        if weakened:
            said = f"Gemini does not enforce {', '.join(sorted(weakened))} in a schema: checked in the answer"
            request.warn("other", "response_format", said)
        return
    try:
        schema, lost = openapi_schema(wanted.schema)
    except Inexpressible:
        request.warn(
            "emulated", "response_format", f"{request.model} takes no schema that refers to itself: described in words"
        )
        system.append({"text": describe_schema(wanted.schema)})
        return
    config["responseSchema"] = schema
    if lost:
        request.warn(
            "other", "response_format", f"{request.model} does not know {', '.join(lost)} in a schema: left out"
        )


def _add(body: dict[str, Any], name: str, value: Any) -> None:
    """Put a raw field over what is there: objects are merged, `None` takes a field out."""
    known = body.get(name)
    if value is None:
        body.pop(name, None)
    elif isinstance(known, dict) and isinstance(value, Mapping):
        merged = dict(known)
        for key, inner in value.items():
            _add(merged, key, inner)
        body[name] = merged
    else:
        body[name] = value
