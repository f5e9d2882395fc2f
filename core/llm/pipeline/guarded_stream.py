"""A streamed answer under a guardrail: nothing is shown before it was checked, and placeholders come back whole."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from core.llm.common.messages import ToolCall
from core.llm.pipeline.event_streams import close
from core.llm.pipeline.json_window import JsonWindow
from core.llm.pipeline.placeholders import Placeholders, Restorer
from core.llm.pipeline.stream_window import StreamWindow, pieces
from core.llm.providers.base.response import (
    RefusalDelta,
    StreamEvent,
    StreamFinish,
    StreamReset,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallReady,
    UsageReport,
)

Check = Callable[[str], Awaitable[None]]
"""Returns where a piece of an answer may be shown, and raises where it must not."""


class CheckedEvents(AsyncIterator[StreamEvent]):
    """Events in their order, each held back until all of its text has been checked.

    The pieces of a tool call wait for the whole of it: escapes could hide in the pieces what the whole then says.
    """

    __slots__ = ("_check", "_events", "_json", "_queue", "_ready_tools", "_width", "_windows")

    def __init__(self, events: AsyncIterator[StreamEvent], width: int, check: Check, *, json: bool) -> None:
        self._events = events
        self._width = width
        self._check = check
        self._json = json
        """Whether the text is that of an object."""
        self._windows: dict[type[StreamEvent], StreamWindow | JsonWindow] = {}
        self._queue: deque[tuple[StreamEvent, int]] = deque()
        """Each event with the place in its text at which it ends."""
        self._ready_tools: set[int] = set()

    async def __anext__(self) -> StreamEvent:
        while True:
            event = self._next_cleared()
            if event is not None:
                return event
            await self._take(await self._events.__anext__())

    async def aclose(self) -> None:
        """Close the stream."""
        await close(self._events)

    async def _take(self, event: StreamEvent) -> None:
        end = 0
        if isinstance(event, TextDelta | ThinkingDelta | RefusalDelta):
            window = self._windows.get(type(event))
            if window is None:
                of_json = self._json and isinstance(event, TextDelta)
                window = JsonWindow(self._width) if of_json else StreamWindow(self._width)
                self._windows[type(event)] = window
            for piece in window.add(text_of(event)):
                await self._check(piece)
            end = window.length
        elif isinstance(event, ToolCallReady):
            await check_tool_call(event.call, self._width, self._check)
            self._ready_tools.add(event.index)
        elif isinstance(event, StreamReset):
            # What was held back is void, and the answer begins again.
            self._queue.clear()
            self._windows.clear()
            self._ready_tools.clear()
        elif isinstance(event, StreamFinish):
            for window in self._windows.values():
                for piece in window.end():
                    await self._check(piece)
            await self._check_open_tools()
        self._queue.append((event, end))

    async def _check_open_tools(self) -> None:
        """Tool calls that came in pieces and were never said to be complete."""
        texts: dict[int, str] = {}
        for event, _ in self._queue:
            if isinstance(event, ToolCallDelta) and event.index not in self._ready_tools:
                texts[event.index] = texts.get(event.index, "") + event.name + event.arguments
        for index, text in texts.items():
            for piece in pieces(text, self._width):
                await self._check(piece)
            self._ready_tools.add(index)

    def _next_cleared(self) -> StreamEvent | None:
        if not self._queue:
            return None
        event, end = self._queue[0]
        if isinstance(event, TextDelta | ThinkingDelta | RefusalDelta):
            cleared = self._windows[type(event)].cleared
            if cleared < end:
                text = text_of(event)
                shown = cleared - (end - len(text))
                if shown <= 0:
                    return None
                self._queue[0] = (_with_text(event, text[shown:]), end)
                return _beginning(event, text[:shown])
        elif isinstance(event, ToolCallDelta) and event.index not in self._ready_tools:
            return None
        self._queue.popleft()
        return event


class RestoredEvents(AsyncIterator[StreamEvent]):
    """Events with values in the place of placeholders, also where one is cut in two."""

    __slots__ = ("_events", "_queue", "_quoted", "_restorers", "_said", "_values")

    def __init__(self, events: AsyncIterator[StreamEvent], values: Placeholders, *, json: bool) -> None:
        self._events = events
        self._values = values
        self._quoted = values.quoted()
        self._said = self._quoted if json else values
        """What text is restored with; the text of an object is JSON."""
        self._queue: deque[StreamEvent] = deque()
        self._restorers: dict[object, tuple[Restorer, StreamEvent]] = {}
        """What holds a text back, with its latest event."""

    async def __anext__(self) -> StreamEvent:
        while not self._queue:
            self._queue.extend(self._restored(await self._events.__anext__()))
        return self._queue.popleft()

    async def aclose(self) -> None:
        """Close the stream."""
        await close(self._events)

    def _restored(self, event: StreamEvent) -> Iterator[StreamEvent]:
        if isinstance(event, UsageReport):
            # Some providers report after every piece: that ends no text.
            yield event
            return
        if isinstance(event, StreamReset):
            self._restorers.clear()
        key = _text_key(event)
        if key is None:
            yield from self._flushed(None)
            yield _whole(event, self._values, self._quoted)
            return
        yield from self._flushed(key)
        entry = self._restorers.get(key)
        values = self._quoted if isinstance(event, ToolCallDelta) else self._said
        restorer = Restorer(values) if entry is None else entry[0]
        self._restorers[key] = (restorer, event)
        shown = restorer.add(text_of(event))
        if shown or not isinstance(event, TextDelta | RefusalDelta):
            yield _with_text(event, shown)

    def _flushed(self, but: object) -> Iterator[StreamEvent]:
        """What the other texts still hold back: a placeholder does not go on behind something else."""
        for key in [key for key in self._restorers if key != but]:
            restorer, event = self._restorers.pop(key)
            held = restorer.end()
            if held:
                yield _rest(event, held)


async def check_tool_call(call: ToolCall, width: int, check: Check) -> None:
    """Check every text in *call*: its name, its arguments as they were written, and each string in them."""
    for text in (call.name, call.arguments_json(), *strings_in(call.arguments)):
        for piece in pieces(text, width):
            await check(piece)


def strings_in(value: Any) -> Iterator[str]:
    """Every string in *value*, which came out of JSON, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from strings_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_in(item)


def restored_call(call: ToolCall, values: Placeholders, quoted: Placeholders) -> ToolCall:
    """*call* with values in the place of placeholders."""
    raw = call.raw_arguments
    return replace(
        call,
        arguments=values.restored_in(call.arguments),
        raw_arguments=None if raw is None else quoted.restored(raw),
    )


def text_of(event: StreamEvent) -> str:
    """What *event* says, whichever field it says it in."""
    if isinstance(event, ThinkingDelta):
        return event.thinking
    if isinstance(event, RefusalDelta):
        return event.refusal
    if isinstance(event, ToolCallDelta):
        return event.arguments
    return event.text


def _with_text(event: StreamEvent, text: str) -> StreamEvent:
    if isinstance(event, TextDelta):
        return TextDelta(text)
    if isinstance(event, ThinkingDelta):
        return replace(event, thinking=text)
    if isinstance(event, RefusalDelta):
        return RefusalDelta(text)
    if isinstance(event, ToolCallDelta):
        return replace(event, arguments=text)
    return event


def _beginning(event: StreamEvent, text: str) -> StreamEvent:
    """The first part of *event*; what closes a piece of thinking stays with the last part."""
    return ThinkingDelta(text) if isinstance(event, ThinkingDelta) else _with_text(event, text)


def _rest(event: StreamEvent, text: str) -> StreamEvent:
    """A further event of the kind of *event*, without what that one has said already."""
    if isinstance(event, ToolCallDelta):
        return ToolCallDelta(event.index, arguments=text)
    return _beginning(event, text)


def _text_key(event: StreamEvent) -> object:
    """Which text *event* is a piece of; `None` where it is no piece of any."""
    if isinstance(event, ToolCallDelta):
        return event.index
    return type(event) if isinstance(event, TextDelta | ThinkingDelta | RefusalDelta) else None


def _whole(event: StreamEvent, values: Placeholders, quoted: Placeholders) -> StreamEvent:
    return replace(event, call=restored_call(event.call, values, quoted)) if isinstance(event, ToolCallReady) else event
