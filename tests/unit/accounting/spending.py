"""A purse with budgets on a fake clock."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.decisions import BudgetAlert
from core.llm.common.events import EventBus
from core.llm.common.types import Cost, ModelRef, Usage
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.state.holds import Hold, Scope
from core.llm.state.rows import AttemptRow
from core.llm.testing import FakeClock

ALPHA = ModelRef("alpha", "m")
START = datetime(2026, 11, 20, 12, tzinfo=UTC)


class WallClock(FakeClock):
    """A fake clock whose wall time may be set, as by NTP or by hand."""

    def __init__(self, now: datetime = START) -> None:
        super().__init__()
        self.time = now

    def now(self) -> datetime:
        return self.time


class Till:
    """Takes and books attempts at alpha/m, in whole units."""

    def __init__(self, costs: Mapping[str, Any], clock: WallClock | None = None) -> None:
        self.clock = clock or WallClock()
        self.events = EventBus()
        self.alerts: list[BudgetAlert] = []
        self.events.subscribe(self.alerts.append, BudgetAlert)
        self.book = UsageLedger()
        self.purse = self.book.purse
        self.number = 0
        self.configure(costs)

    def configure(self, costs: Mapping[str, Any]) -> None:
        config = LLMServiceConfig.model_validate(
            {"providers": {"alpha": {}, "beta": {}}, "models": {"fast": "alpha/m"}, "costs": costs}
        )
        self.book.limit(config, self.clock, self.events)

    def take(self, amount: int, *, user: str = "", alias: str = "", ref: ModelRef = ALPHA) -> AttemptRow:
        """Hold *amount*; the row of the attempt."""
        self.number += 1
        spender = Scope(ref.provider, ref.model, alias, user)
        hold = Hold(f"c-{self.number}", spender, self.clock.now(), amount * 10**9)
        self.purse.take(self.purse.touching(ref), hold)
        row = AttemptRow(hold.attempt_id, "c", self.number, *ref, hold.started, user=user or None, alias=alias or None)
        self.book.begin(row)
        return row

    def settle(self, row: AttemptRow, amount: int) -> None:
        """The attempt of *row* cost *amount*."""
        row.book("settled", Usage(), Cost(Decimal(amount)))
        self.book.settle(row)

    def spend(self, amount: int, **fields: Any) -> None:
        self.settle(self.take(amount, **fields), amount)

    async def standing(self) -> dict[str, tuple[int, int]]:
        """Spent and held of each budget."""
        return {one.name.removeprefix("costs."): (int(one.spent), int(one.held)) for one in await self.book.budgets()}
