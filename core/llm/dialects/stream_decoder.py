"""What every decoder of a streamed answer promises, whatever its framing: an error waits for what came before it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Billing
from core.llm.providers.base.response import StreamEvent


class AnswerDecoder(ABC):
    """One stream. Whatever came before an error in the same bytes is delivered before it."""

    __slots__ = ("_failure", "_headers", "done")

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._failure: ProviderError | None = None
        self.done = False

    @property
    def finished(self) -> bool:
        """True once the model has said why it stopped: the body may end here, or the connection fall silent."""
        return self._failure is None and self._has_finish()

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by *data*. Never raises: an error sets `done`, and `end` raises it."""
        events: list[StreamEvent] = []
        if self.done:
            return events
        try:
            self._take(data, events)
        except ProviderError as error:
            self._failure = self._with_cost(error)
            self.done = True
        return events

    def end(self) -> list[StreamEvent]:
        """The body has ended, or `done` is set.

        Raises:
            ProviderError: `protocol` for anything unreadable (`truncated`, `empty`: there was no terminal marker);
                or the error that the provider sent in the stream.
        """
        if self._failure is not None:
            raise self._failure
        events: list[StreamEvent] = []
        if not self.done:
            try:
                self._end(events)
            except ProviderError as error:
                raise self._with_cost(error) from None
            self.done = True
        return events

    @abstractmethod
    def _has_started(self) -> bool:
        """Whether `StreamStart` has been given out."""

    @abstractmethod
    def _has_output(self) -> bool:
        """Whether anything of the answer itself has arrived: from here on a failure costs something."""

    @abstractmethod
    def _has_finish(self) -> bool:
        """Whether the model has said why it stopped."""

    @abstractmethod
    def _take(self, data: bytes, events: list[StreamEvent]) -> None:
        """Add the events that *data* completes; raises `ProviderError` where it holds an error or cannot be read."""

    @abstractmethod
    def _end(self, events: list[StreamEvent]) -> None:
        """Add the last events after the last byte; raises `ProviderError` where the answer is not whole."""

    def _with_cost(self, error: ProviderError) -> ProviderError:
        """*error* with what is known about the cost, where it says nothing about it itself."""
        if error.billing == "ambiguous":
            error.billing = self._billing()
        return error

    def _billing(self) -> Billing:
        return "estimated" if self._has_output() else "ambiguous"

    def _incomplete(self, rest: bytes) -> ProviderError:
        """The error for a body that ended before its answer; *rest* is what arrived of an unfinished event."""
        if not rest and not self._has_started():
            return ProviderError("protocol", "the stream ended without an answer", code="empty", billing="ambiguous")
        return ProviderError(
            "protocol",
            "the stream ended in the middle: nothing had said that the answer was complete",
            code="truncated",
            billing=self._billing(),
        )
