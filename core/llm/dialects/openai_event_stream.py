"""What streamed answers of OpenAI's two chat endpoints have in common: where they begin, and how they end."""

from abc import abstractmethod
from collections.abc import Mapping

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.errors import classify, error_of, request_id
from core.llm.dialects.event_decoder import EventDecoder, is_end_mark
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import StreamEvent, StreamStart


class OpenAIEventDecoder(EventDecoder):
    """One stream of server-sent events, ended by `[DONE]` or by what its endpoint says in place of it."""

    __slots__ = ("_output", "_quirks", "_request", "_started", "_visible")

    def __init__(self, request: ChatRequest, quirks: OpenAIQuirks, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self._request = request
        self._quirks = quirks
        self._started = False
        self._output = False
        self._visible = 0

    @abstractmethod
    def _close(self, events: list[StreamEvent]) -> None:
        """Add the last events of a complete answer."""

    def _has_started(self) -> bool:
        return self._started

    def _has_output(self) -> bool:
        return self._output

    def _marker(self, events: list[StreamEvent]) -> None:
        self._complete(events)

    def _last_words(self, rest: bytes, events: list[StreamEvent]) -> None:
        if is_end_mark(rest.strip().removeprefix(b"data:")):
            self._complete(events)

    def _failed(self, told: object) -> ProviderError:
        """The error that a decoded event stands for."""
        return classify(error_of(told), headers=self._headers, billing=self._billing())

    def _start(self, model: object, events: list[StreamEvent]) -> None:
        self._started = True
        events.append(StreamStart(model if isinstance(model, str) else "", request_id=request_id(self._headers)))

    def _complete(self, events: list[StreamEvent]) -> None:
        self.done = True
        if not self._started:
            raise self._incomplete(b"")
        self._close(events)
