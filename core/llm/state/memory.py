"""Rows in memory: the last ones, and the sums of all."""

from collections import deque
from datetime import datetime
from typing import Final

from core.llm.common.log import log
from core.llm.state.holds import Claim, Scope
from core.llm.state.rows import AttemptRow, UsageTotal, totals_of

KEPT: Final = 10_000
"""So many rows are remembered; the sums count further."""
_NAMES_KEPT: Final = 10_000
OTHERS: Final = "(others)"
"""Stands for the models whose names came after so many others: their sums are in one line for each provider.

Where half as many lines again are full of providers that edits have named and taken out, it stands for those as well.
"""


class MemoryStore:
    """Forgets everything with the process."""

    def __init__(self) -> None:
        self._rows: deque[AttemptRow] = deque(maxlen=KEPT)
        self._totals: dict[tuple[str, str, str, str], UsageTotal] = {}
        self._said = False

    async def open(self) -> int:
        """Nothing to do: there is no earlier life."""
        return 0

    async def close(self) -> None:
        """Nothing to do: the rows stay readable until the process ends."""

    def begin(self, row: AttemptRow) -> None:
        """Keep the row."""
        self._rows.append(row)

    def settle(self, row: AttemptRow) -> None:
        """Count the row; the object that was kept is the one that was changed."""
        key = (row.provider, row.model, row.state, row.currency)
        total = self._totals.get(key)
        if total is None:
            lines = len(self._totals)
            model = row.model if lines < _NAMES_KEPT else OTHERS
            fresh = UsageTotal(row.provider, model, row.state, row.currency)
            if lines >= _NAMES_KEPT * 3 // 2 and fresh.key not in self._totals:
                fresh = UsageTotal(OTHERS, OTHERS, row.state, row.currency)
            total = self._totals.setdefault(fresh.key, fresh)
        total.add(row)

    async def rows(self, call_id: str | None, since: datetime | None, limit: int) -> tuple[AttemptRow, ...]:
        """What is still remembered."""
        found: list[AttemptRow] = []
        for row in reversed(self._rows):
            if len(found) >= limit:
                break
            if (call_id is None or row.call_id == call_id) and (since is None or row.started >= since):
                found.append(row)
        return tuple(found)

    def spent(self, claim: Claim, currency: str) -> int:
        """What the attempts cost that count in *claim*, as far as they are remembered."""
        if len(self._rows) == KEPT and self._rows[0].started > claim.start and not self._said:
            self._said = True
            log("WARNING", "a budget that is new here begins with what the last {} attempts cost, no more", KEPT)
        return sum(
            row.nanos or 0
            for row in self._rows
            if row.closed
            and row.currency == currency
            and claim.start <= row.started < claim.stop
            and claim.scope.covers(Scope(row.provider, row.model, row.alias or "", row.user or ""))
        )

    async def totals(self, since: datetime | None) -> tuple[UsageTotal, ...]:
        """Without *since*, all that was ever settled; with it, what is still remembered."""
        if since is None:
            return tuple(self._totals.values())
        return totals_of(row for row in self._rows if row.state != "open" and row.started >= since)
