"""A bounded number of calls at once, the others waiting in order of arrival, and a bound on those as well."""

import asyncio
from collections import deque

from core.llm.common.exceptions import ProviderError


class Slots:
    """Counts the calls that a worker runs at the same time. Fair: first come, first served."""

    __slots__ = ("_free", "_limit", "_waiting")

    def __init__(self, count: int, max_waiting: int) -> None:
        self._free = count
        self._limit = max_waiting
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return self._free

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return len(self._waiting)

    async def take(self) -> None:
        """Return once a slot is ours; every `take` needs its `give`.

        Raises:
            ProviderError: `overloaded`, where too many are waiting already.
        """
        if self._free and not self._waiting:
            self._free -= 1
            return
        if len(self._waiting) >= self._limit:
            raise ProviderError(
                "overloaded", f"{len(self._waiting)} calls are waiting for this local model already", code="queue_full"
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()  # the slot had been handed to us in the very moment we were cancelled
            else:
                self._waiting.remove(turn)
            raise

    def give(self) -> None:
        """Hand a slot back; the longest waiting caller gets it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
