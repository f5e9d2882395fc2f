"""Streams of events made of others, and how a stream is closed."""

from collections.abc import AsyncIterator, Callable, Sequence

from core.llm.common.log import log
from core.llm.providers.base.response import StreamEvent


async def close(events: AsyncIterator[StreamEvent]) -> None:
    """Close what provides *events*; one that fails at that spoils nothing that has been delivered."""
    aclose = getattr(events, "aclose", None)
    if aclose is not None:
        try:
            await aclose()
        except Exception as error:  # noqa: BLE001 - its text may hold what was sent
            log("WARNING", "closing a stream raised {}, which is a defect of its provider", type(error).__name__)


class Joined(AsyncIterator[StreamEvent]):
    """What has arrived of a stream, and then the rest of it."""

    __slots__ = ("_begun", "_tail")

    def __init__(self, begun: Sequence[StreamEvent], tail: AsyncIterator[StreamEvent]) -> None:
        self._begun = iter(begun)
        self._tail = tail

    async def __anext__(self) -> StreamEvent:
        for event in self._begun:
            return event
        return await self._tail.__anext__()

    async def aclose(self) -> None:
        """Close the rest."""
        await close(self._tail)


class Converted(AsyncIterator[StreamEvent]):
    """The rest of a stream on its way through a conversion; closing it closes the stream."""

    __slots__ = ("_convert", "_events")

    def __init__(
        self, events: AsyncIterator[StreamEvent], convert: Callable[[StreamEvent], StreamEvent | None]
    ) -> None:
        self._events = events
        self._convert = convert

    async def __anext__(self) -> StreamEvent:
        while True:
            event = self._convert(await self._events.__anext__())
            if event is not None:
                return event

    async def aclose(self) -> None:
        """Close the stream."""
        await close(self._events)
