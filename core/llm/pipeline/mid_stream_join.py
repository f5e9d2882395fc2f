"""The beginning of an answer as a prompt, and its rest joined on without a character lost or repeated. Pure."""

from core.llm.common.messages import Message, TextPart
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.base.response import ResponseCollector
from core.llm.routing.tokens import estimate_text


def cannot_continue(said: ResponseCollector, asked: LLMRequest, *, in_tool_call: bool) -> str | None:
    """Why nobody can go on from what was *said*; `None` where plain text was, and plain text is wanted."""
    if in_tool_call:
        return "it broke in a tool call"
    if asked.response_format is not None:
        return "an object was asked for"
    if asked.thinking not in {None, "off"}:
        return "the request asks for thinking"
    if said.refusal:
        return "the model was refusing"
    if not all(isinstance(part, TextPart) for part in said.parts()):
        return "it had begun with something other than text"
    if not said.text().strip():
        return "it had no text yet"
    return None


def continued(asked: LLMRequest, delivered: str) -> LLMRequest:
    """*asked* with what was *delivered* as the beginning of the answer, and what is left of its token cap.

    White space at the end is left out: servers refuse it or cut it off, and models write it themselves. `Joint` makes
    up for it.
    """
    changes: dict[str, object] = {"messages": (*asked.messages, Message("assistant", delivered.rstrip()))}
    if asked.max_tokens is not None:
        changes["max_tokens"] = max(1, asked.max_tokens - estimate_text(delivered))
    return asked.model_copy(update=changes)


class Joint:
    """Takes from the beginning of a continuation the white space that had been delivered already."""

    __slots__ = ("_dropped", "_owed")

    def __init__(self, delivered: str) -> None:
        self._owed = delivered[len(delivered.rstrip()) :]
        self._dropped = 0

    def fit(self, text: str) -> str:
        """What of the next piece *text* is new."""
        same = 0
        while same < len(self._owed) and same < len(text) and text[same] == self._owed[same]:
            same += 1
        # With the first character that differs the overlap is over; an empty piece decides nothing.
        self._owed = self._owed[same:] if same == len(text) else ""
        self._dropped += same
        return text[same:]

    def kept(self, text: str) -> str:
        """What of all the *text* so far was new."""
        return text[self._dropped :]
