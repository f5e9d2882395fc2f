"""What the message of a tool holds: results as parts of it, or one result that is the message itself."""

from dataclasses import replace

from core.llm.common.messages import Message, Part, TextPart, ToolResultPart
from core.llm.dialects.left_out import report_beside_results
from core.llm.providers.base.request import ChatRequest


def tool_results(request: ChatRequest, message: Message) -> tuple[list[ToolResultPart], list[Part]]:
    """The results in *message*, each with the id and name that the message may give instead of the part.

    Then the parts that are no text of a message that is a result itself, such as the picture that a tool returned. What
    stands beside results is sent nowhere, and reported.
    """
    identifier = message.tool_call_id or ""
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    if not results:
        beside: list[Part] = [part for part in message.parts if not isinstance(part, TextPart)]
        return [ToolResultPart(identifier, message.text, message.name)], beside
    if len(results) < len(message.parts):
        report_beside_results(request)
    return [
        replace(result, tool_call_id=result.tool_call_id or identifier, name=result.name or message.name)
        for result in results
    ], []
