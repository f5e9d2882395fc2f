"""A conversation in Ollama's shape: messages, pictures, tool calls with object arguments, tool results. Pure."""

from typing import Any

from core.llm.common.messages import ImagePart, Message, TextPart, ThinkingPart, ToolCall, ToolResultPart
from core.llm.dialects.left_out import report_foreign
from core.llm.providers.base.request import ChatRequest, ToolDefinition


def encode_tool(tool: ToolDefinition) -> dict[str, Any]:
    """A tool as Ollama wants it declared."""
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def encode_messages(request: ChatRequest) -> list[dict[str, Any]]:
    """The messages of *request*; each tool result becomes a message of its own, named after its tool."""
    names: dict[str, str] = {}
    out: list[dict[str, Any]] = []
    for message in request.messages:
        if not message.tool_calls and message.content.__class__ is str and message.role != "tool":
            out.append({"role": message.role, "content": message.content})
        else:
            _add_message(request, message, names, out)
    return out


def _add_message(request: ChatRequest, message: Message, names: dict[str, str], out: list[dict[str, Any]]) -> None:
    texts: list[str] = []
    images: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, ImagePart):
            images.append(part.base64())
        elif isinstance(part, ThinkingPart):
            # Foreign reasoning is never sent to another provider.
            if part.provider != request.provider:
                report_foreign(request)
            elif part.text:
                thoughts.append(part.text)
        elif isinstance(part, ToolCall):
            names[part.id] = part.name
            calls.append(_call(request, part))
        elif isinstance(part, ToolResultPart):
            results.append(_result(part.content, part.name or names.get(part.tool_call_id), part.tool_call_id))
    if message.role == "tool" and message.tool_call_id is not None:
        results.append(_result("".join(texts), message.name or names.get(message.tool_call_id), message.tool_call_id))
        texts = []
    out.extend(results)
    if not (texts or images or thoughts or calls) and results:
        return
    body: dict[str, Any] = {"role": message.role, "content": "".join(texts)}
    if images:
        body["images"] = images
    if thoughts:
        body["thinking"] = "".join(thoughts)
    if calls:
        body["tool_calls"] = calls
    out.append(body)


def _result(content: str, name: str | None, call_id: str) -> dict[str, Any]:
    result: dict[str, Any] = {"role": "tool", "content": content, "tool_call_id": call_id}
    if name:
        result["tool_name"] = name
    return result


def _call(request: ChatRequest, call: ToolCall) -> dict[str, Any]:
    if call.arguments_error is not None:
        request.warn(
            "other", "messages", f"the arguments of the tool call {call.name!r} are no JSON object: sent as empty"
        )
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function} if call.id else {"function": function}
