"""What a conversation holds that a format has no place for, or lacks, reported in the same words by every dialect.

Each thing is said once per request, however often it occurs in a long conversation.
"""

from core.llm.common.messages import ImagePart, Message
from core.llm.providers.base.request import ChatRequest


def report_name(request: ChatRequest, message: Message) -> None:
    """Report that the participant's name on *message* is not sent. That of a tool is none."""
    if message.name is not None and message.role != "tool":
        _drop(request, f"{request.provider} knows no names of participants")


def report_detail(request: ChatRequest, part: ImagePart) -> None:
    """Report that how closely a picture is to be looked at cannot be said."""
    if part.detail in {"low", "high"}:
        _tell(request, f"{request.provider} cannot be told the detail of a picture: it decides by itself")


def report_foreign(request: ChatRequest) -> None:
    """Report that reasoning of another provider, which nobody else can read or check, is not sent."""
    _tell(request, "reasoning that did not come from this provider is not sent: only its own can read it")


def report_bridge(request: ChatRequest, words: str) -> None:
    """Report that *words* were put into the assistant's mouth."""
    _tell(
        request, f"{request.provider} lets nobody speak right after a tool's result: an assistant's {words!r} was added"
    )


def report_choice(request: ChatRequest) -> None:
    """Report that a tool was to be called although there is none."""
    if request.params.tool_choice not in {None, "auto", "none"}:
        request.warn("dropped", "tool_choice", "there are no tools to choose from")


def report_bound(request: ChatRequest) -> None:
    """Report that thinking of the provider's own is not sent, because the conversation before it has changed."""
    _tell(request, "thinking before a system message that was moved is not sent: it is bound to what stood before it")


def report_beside_results(request: ChatRequest) -> None:
    """Report that what stands beside tool results in the message of a tool is not sent."""
    _drop(request, "a tool message holds more than results: only these were sent")


def _drop(request: ChatRequest, text: str) -> None:
    if not _is_said(request, text):
        request.warn("dropped", "messages", text)


def _tell(request: ChatRequest, text: str) -> None:
    if not _is_said(request, text):
        request.warn("other", "messages", text)


def _is_said(request: ChatRequest, text: str) -> bool:
    return any(one.message == text for one in request.warnings)
