"""Remembers what was published on an event bus."""

import asyncio
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from core.llm.common.events import Event, EventBus, Subscription

_E = TypeVar("_E", bound=Event)


class EventRecorder:
    """Every event of a bus, in order, to be asked about afterwards or waited for.

    Listens from its construction until `close`, or to the end of its `with` block.
    """

    def __init__(self, bus: EventBus, *kinds: type[Event]) -> None:
        self.events: list[Event] = []
        """What was published so far, oldest first."""
        self._arrived = asyncio.Event()
        self._subscription: Subscription = bus.subscribe(self._take, *kinds)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self._arrived.set()

    def of(self, kind: type[_E]) -> list[_E]:
        """The events of *kind* (and of its subclasses), oldest first."""
        return [event for event in self.events if isinstance(event, kind)]

    def last(self, kind: type[_E]) -> _E:
        """The newest event of *kind*.

        Raises:
            AssertionError: there was none; the text lists what there was.
        """
        found = self.of(kind)
        if not found:
            raise AssertionError(f"no {kind.__name__} was published; {self._summary()}")
        return found[-1]

    def kinds(self) -> list[str]:
        """The names of the event types in the order of publication."""
        return [type(event).__name__ for event in self.events]

    def clear(self) -> None:
        """Forget what was recorded; go on listening."""
        self.events.clear()

    async def wait_for(
        self,
        kind: type[_E],
        *,
        where: Callable[[_E], bool] | None = None,
        nth: int = 1,
        timeout: float = 30.0,
    ) -> _E:
        """The *nth* event of *kind* for which *where* holds: recorded already, or awaited for *timeout* real seconds.

        Raises:
            AssertionError: it did not come; the text lists what came instead.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    found = [event for event in self.of(kind) if where is None or where(event)]
                    if len(found) >= nth:
                        return found[nth - 1]
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            wanted = f"{nth} events of {kind.__name__}" if nth > 1 else kind.__name__
            condition = " for which the condition holds" if where else ""
            raise AssertionError(f"waited {timeout:g} s for {wanted}{condition}; {self._summary()}") from None

    def close(self) -> None:
        """Stop listening; what was recorded stays. Idempotent."""
        self._subscription.close()

    def _summary(self) -> str:
        if not self.events:
            return "nothing was published"
        return "published were: " + ", ".join(self.kinds()[-20:])

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def __contains__(self, kind: Any) -> bool:
        return bool(self.of(kind)) if isinstance(kind, type) else kind in self.events

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
