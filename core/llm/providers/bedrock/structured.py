"""Structured output: by the model's own guarantee, else as the arguments of a tool it must call, else in words."""

from typing import Any

from core.llm.common.messages import ToolCall, ToolResultPart
from core.llm.dialects.described_schema import describe_schema
from core.llm.dialects.json import encode_json
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.bedrock.schema import closed_schema


def encode_structured(request: ChatRequest, body: dict[str, Any]) -> None:
    """Ask for the shape of the answer in *body*; anything less than a guarantee is a warning."""
    wanted = request.params.response_format
    if wanted is None:
        return
    schema = wanted.schema
    weakened: set[str] = set()
    if (native := _native(request, weakened)) is not None:
        if weakened:
            said = f"Bedrock does not enforce {', '.join(sorted(weakened))} in a schema: checked in the answer"
            request.warn("other", "response_format", said)
        definition = {"name": wanted.plain_name(), "schema": encode_json(native).decode()}
        text_format = {"type": "json_schema", "structure": {"jsonSchema": definition}}
        body.setdefault("outputConfig", {})["textFormat"] = text_format
    elif (tool := answer_tool(request)) is not None:
        request.warn("emulated", "response_format", "the answer is asked for as the arguments of a tool")
        spec = {"name": tool, "description": "Give the answer.", "inputSchema": {"json": schema}}
        body["toolConfig"] = {"tools": [{"toolSpec": spec}], "toolChoice": {"tool": {"name": tool}}}
    else:
        request.warn(
            "emulated", "response_format", f"{request.model} was asked for JSON in words: nothing guarantees it"
        )
        body["system"] = [*body.get("system", ()), {"text": describe_schema(schema)}]


def answer_tool(request: ChatRequest) -> str | None:
    """The tool whose arguments are the answer to *request*; `None` where the answer is plain text.

    Only for models that can be forced to call it, and only where the conversation knows no other tools.
    """
    params, facts = request.params, request.facts
    wanted = params.response_format
    if wanted is None or wanted.schema is None or wanted.schema.get("type") != "object":
        return None
    if "tools" not in facts.capabilities or facts.quirks.get("tool_choice") == "auto" or _native(request) is not None:
        return None
    if params.tools or (params.thinking not in {None, "off"} and "thinking" in facts.quirks):
        return None
    if any(isinstance(part, ToolCall | ToolResultPart) for message in request.messages for part in message.parts):
        return None
    return None if any(message.role == "tool" for message in request.messages) else wanted.plain_name()


def _native(request: ChatRequest, weakened: set[str] | None = None) -> dict[str, Any] | None:
    """The schema as the model guarantees it, where it does and where the schema can be said in its terms."""
    wanted = request.params.response_format
    if wanted is None or wanted.schema is None or "json_schema" not in request.facts.capabilities:
        return None
    return closed_schema(wanted.schema, weakened)
