"""Requests in the Responses format: the same parameters as on Chat Completions, by other names and in other places."""

from typing import Any, Final

from core.llm.dialects.described_schema import describe_schema
from core.llm.dialects.left_out import report_choice
from core.llm.dialects.openai_encode import (
    add_raw_fields,
    encode_function,
    encode_parallel,
    encode_sampling,
    encode_schema,
)
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.dialects.openai_responses_input import encode_input
from core.llm.dialects.openai_thinking import encode_thinking
from core.llm.providers.base.request import ChatRequest, NamedTool, ResponseFormat, ToolDefinition

_FIELDS: Final = ("temperature", "top_p", "user")
_LACKING: Final = ("top_k", "stop", "seed", "frequency_penalty", "presence_penalty")
_MERGED: Final = frozenset({"reasoning", "text"})
_ENCRYPTED: Final = "reasoning.encrypted_content"


def encode_responses_body(request: ChatRequest, quirks: OpenAIQuirks) -> dict[str, Any]:
    """The JSON body of *request*; adds to its warnings what had to be left out.

    Raises:
        UnsupportedFeature: the request needs something that cannot be left out.
        RequestError: a part cannot be written at all.
    """
    params, facts = request.params, request.facts.quirks
    instructions, items = encode_input(request, quirks, facts.get("system_role", quirks.system_role))
    body: dict[str, Any] = {"model": request.model, "input": items}
    if instructions:
        body["instructions"] = instructions
    request.warn_of_ending()
    if request.stream:
        body["stream"] = True
    # The conversation is ours to keep: nothing stays on the server, and reasoning travels encrypted.
    body["store"] = False
    if quirks.extra:
        body.update(quirks.extra)
    thinks = _thinking(request, quirks, body)
    if quirks.encrypted_reasoning and _may_reason(request):
        body["include"] = [_ENCRYPTED]
    if params.max_tokens is not None:
        _token_cap(request, quirks, params.max_tokens, body)
    encode_sampling(request, quirks, body, _FIELDS, thinks=thinks)
    for name in _LACKING:
        if getattr(params, name) is not None:
            request.warn("dropped", name, f"the Responses endpoint has no {name}; `api: chat` has")
    if params.tools:
        _tools(request, quirks, params.tools, body)
    elif params.tool_choice is not None:
        report_choice(request)
    if params.response_format is not None:
        _structured(request, quirks, params.response_format, body)
    add_raw_fields(request, body, _MERGED)
    return body


def _thinking(request: ChatRequest, quirks: OpenAIQuirks, body: dict[str, Any]) -> bool:
    """Write how much to think; here the word stands in an object."""
    found: dict[str, Any] = {}
    thinks = encode_thinking(request, quirks, found, most="max")
    effort = found.pop("reasoning_effort", None)
    if effort is not None:
        found["reasoning"] = {"effort": effort}
    body.update(found)
    return thinks


def _may_reason(request: ChatRequest) -> bool:
    """False for models that are known not to: they refuse to be asked for their reasoning."""
    return not request.facts.lacks("thinking") and request.facts.quirks.get("effort") != []


def _token_cap(request: ChatRequest, quirks: OpenAIQuirks, cap: int, body: dict[str, Any]) -> None:
    if cap < quirks.min_output_tokens:
        request.warn("clamped", "max_tokens", f"the Responses endpoint takes no cap below {quirks.min_output_tokens}")
        cap = quirks.min_output_tokens
    body["max_output_tokens"] = cap


def _tools(request: ChatRequest, quirks: OpenAIQuirks, tools: tuple[ToolDefinition, ...], body: dict[str, Any]) -> None:
    # Left out, `strict` would mean true here.
    body["tools"] = [{"type": "function", "strict": False, **encode_function(tool, quirks)} for tool in tools]
    choice = request.params.tool_choice
    if isinstance(choice, NamedTool):
        body["tool_choice"] = {"type": "function", "name": choice.name}
    elif choice is not None:
        body["tool_choice"] = quirks.required_choice if choice == "required" else choice
    encode_parallel(request, quirks, body)


def _structured(request: ChatRequest, quirks: OpenAIQuirks, wanted: ResponseFormat, body: dict[str, Any]) -> None:
    schema = wanted.schema
    if schema is not None and quirks.structured == "json_schema":
        body["text"] = {"format": {"type": "json_schema", **encode_schema(request, quirks, wanted, schema)}}
        return
    if quirks.structured != "none":
        body["text"] = {"format": {"type": "json_object"}}
    if schema is not None or quirks.structured == "none":
        request.warn("emulated", "response_format", f"{request.provider} takes no schema: it was described in words")
        said = body.get("instructions")
        body["instructions"] = f"{said}\n\n{describe_schema(schema)}" if said else describe_schema(schema)
