"""`UsageLedger`: every request that was sent, exactly once, with what it used and cost."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.llm.accounting.budgets import BudgetStatus, budgets_of
from core.llm.accounting.purse import Purse
from core.llm.common.clock import Clock
from core.llm.common.events import EventBus
from core.llm.common.log import log
from core.llm.providers.config.models.service import LLMServiceConfig, StateOptions
from core.llm.state.memory import MemoryStore
from core.llm.state.rows import AttemptRow, UsageTotal
from core.llm.state.store import LedgerStore

if TYPE_CHECKING:
    from core.llm.state.sqlite import SqliteStore

DEFAULT_PATH: Final = Path(".core-llm/state.db")


class UsageLedger:
    """Keeps one row per attempt: written before the request is sent, closed when it has ended.

    In memory the last 10,000 rows are remembered and the sums of all; in an SQLite file (`state.backend: sqlite`)
    everything is, also after `kill -9`: a request whose end nobody saw is then `ambiguous`, booked at the estimate of
    its prompt. A singleton of the container, which starts and stops it.
    """

    def __init__(self, options: Callable[[], StateOptions] = StateOptions) -> None:
        self._options = options
        memory = MemoryStore()
        self._store: LedgerStore = memory
        self._shared: SqliteStore | None = None
        self.durable = False
        """Whether rows outlive the process."""
        self.purse = Purse()
        """The budgets, which are spent with each row that is settled."""
        self.purse.spent_before = memory.spent

    async def start(self) -> None:
        """Open the store that the configuration names."""
        options = self._options()
        if options.backend == "sqlite":
            from core.llm.state.sqlite import SqliteStore  # noqa: PLC0415 - only who keeps rows in a file pays

            path = Path(options.path) if options.path else DEFAULT_PATH
            self._shared = SqliteStore(path)
            self._store, self.durable = self._shared, True
        orphans = await self._store.open()
        if self._shared is not None:
            self.purse.shared = self._shared
            if self.purse.budgets:
                await self._shared.open_budgets()
                await self.purse.look()
        if orphans:
            log("WARNING", "{} requests were under way when an earlier process died: booked as ambiguous", orphans)

    async def stop(self) -> None:
        """Write what is waiting and close the store."""
        await self._store.close()

    async def prepare(self, config: LLMServiceConfig) -> None:
        """Get ready for the budgets of *config*, before it goes live.

        Raises:
            ConfigError: the file cannot be written.
        """
        if self._shared is not None and config.costs.limited:
            await self._shared.open_budgets()

    def limit(self, config: LLMServiceConfig, clock: Clock, events: EventBus) -> None:
        """Hold every further attempt to the budgets of *config*; what was spent of them stays spent."""
        costs = config.costs
        self.purse.configure(
            budgets_of(config),
            threshold=costs.alert_threshold,
            zone=costs.timezone,
            currency=costs.currency,
            clock=clock,
            events=events,
        )

    async def budgets(self) -> tuple[BudgetStatus, ...]:
        """How each budget stands in its running window, all processes that share the file together.

        Where every user has a budget, those are listed who have spent something here.
        """
        return await self.purse.status()

    def begin(self, row: AttemptRow) -> Awaitable[None] | None:
        """Keep *row* before its request is sent: wait for what is returned, where anything is."""
        return self._store.begin(row)

    def settle(self, row: AttemptRow) -> None:
        """Keep how *row* ended, once. Never blocks and never raises."""
        if row.closed:
            return
        if self.purse.active:
            self.purse.settle(row)
        row.closed = True
        self._store.settle(row)

    async def rows(
        self, *, call_id: str | None = None, since: datetime | None = None, limit: int = 1000
    ) -> tuple[AttemptRow, ...]:
        """The newest rows first: those of one call, or those that began at *since* or later."""
        return await self._store.rows(call_id, since, limit)

    async def totals(self, *, since: datetime | None = None) -> tuple[UsageTotal, ...]:
        """Attempts, tokens and money by model and outcome, of all attempts that have ended since *since*."""
        return await self._store.totals(since)
