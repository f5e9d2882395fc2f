"""A conversation in Ollama's shape: messages, pictures, tool calls with object arguments, tool results. Pure."""

from collections import deque
from typing import Any

from core.llm.common.messages import ImagePart, Message, TextPart, ThinkingPart, ToolCall, ToolResultPart
from core.llm.dialects.left_out import report_foreign
from core.llm.dialects.tool_results import tool_results
from core.llm.providers.base.request import ChatRequest, ToolDefinition


def encode_tool(tool: ToolDefinition) -> dict[str, Any]:
    """A tool as Ollama wants it declared."""
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def encode_messages(request: ChatRequest) -> list[dict[str, Any]]:
    """The messages of *request*; each tool result becomes a message of its own, named after its tool."""
    encoder: _Encoder | None = None
    out: list[dict[str, Any]] = []
    for message in request.messages:
        if not message.tool_calls and message.content.__class__ is str and message.role != "tool":
            out.append({"role": message.role, "content": message.content})
        else:
            if encoder is None:
                encoder = _Encoder(request, out)
            encoder.add(message)
    return out


class _Encoder:
    __slots__ = ("_names", "_out", "_request", "_unnamed")

    def __init__(self, request: ChatRequest, out: list[dict[str, Any]]) -> None:
        self._request = request
        self._out = out
        self._names: dict[str, str] = {}
        self._unnamed: deque[str] = deque()
        """The tools of calls that have no id, in order: so are their results."""

    def add(self, message: Message) -> None:
        """Append what *message* is on the wire."""
        if message.role == "tool":
            self._tool(message)
        else:
            self._said(message)

    def _said(self, message: Message) -> None:
        texts: list[str] = []
        images: list[str] = []
        thoughts: list[str] = []
        calls: list[dict[str, Any]] = []
        begin = len(self._out)
        for part in message.parts:
            if isinstance(part, TextPart):
                texts.append(part.text)
            elif isinstance(part, ImagePart):
                images.append(part.base64())
            elif isinstance(part, ThinkingPart):
                # Foreign reasoning is never sent to another provider.
                if part.provider != self._request.provider:
                    report_foreign(self._request)
                elif part.text:
                    thoughts.append(part.text)
            elif isinstance(part, ToolCall):
                calls.append(self._call(part))
            elif isinstance(part, ToolResultPart):
                self._result(part.content, part.tool_call_id, part.name)
        if len(self._out) > begin and not (texts or images or thoughts or calls):
            return
        body: dict[str, Any] = {"role": message.role, "content": "".join(texts)}
        if images:
            body["images"] = images
        if thoughts:
            body["thinking"] = "".join(thoughts)
        if calls:
            body["tool_calls"] = calls
        self._out.append(body)

    def _tool(self, message: Message) -> None:
        results, beside = tool_results(self._request, message)
        for result in results:
            self._result(result.content, result.tool_call_id, result.name)
        images = [part.base64() for part in beside if isinstance(part, ImagePart)]
        if images:
            self._out[-1]["images"] = images

    def _result(self, content: str, call_id: str, name: str | None) -> None:
        result: dict[str, Any] = {"role": "tool", "content": content}
        if call_id:
            result["tool_call_id"] = call_id
            name = name or self._names.get(call_id)
        elif self._unnamed:
            called = self._unnamed.popleft()
            name = name or called
        if name:
            result["tool_name"] = name
        self._out.append(result)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        if call.arguments_error is not None:
            self._request.warn(
                "other", "messages", f"the arguments of the tool call {call.name!r} are no JSON object: sent as empty"
            )
        function = {"name": call.name, "arguments": call.arguments}
        if not call.id:
            self._unnamed.append(call.name)
            return {"function": function}
        self._names[call.id] = call.name
        return {"id": call.id, "type": "function", "function": function}
