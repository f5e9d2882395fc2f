"""What a place for rows has to offer; the same meaning wherever they are kept."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Protocol

from core.llm.state.rows import AttemptRow, UsageTotal


class LedgerStore(Protocol):
    """Keeps the rows of attempts."""

    async def open(self) -> int:
        """Get ready; returns how many rows of processes that have died were open, which are now `ambiguous`."""

    async def close(self) -> None:
        """Write what is waiting and let go of everything. Idempotent."""

    def begin(self, row: AttemptRow) -> Awaitable[None] | None:
        """Keep *row* before its request is sent: wait for what is returned, where anything is."""

    def settle(self, row: AttemptRow) -> None:
        """Keep how *row* ended. Never blocks and never raises; a second time for the same row changes nothing."""

    async def rows(self, call_id: str | None, since: datetime | None, limit: int) -> tuple[AttemptRow, ...]:
        """The newest rows first: those of one call, or those that began at *since* or later."""

    async def totals(self, since: datetime | None) -> tuple[UsageTotal, ...]:
        """Sums by model and outcome over the rows that began at *since* or later."""
