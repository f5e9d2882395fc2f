"""`Purse`: takes what an attempt may cost out of every budget it counts in, and books what it did cost.

Within the process that is arithmetic without an await in between, so that no number of calls at once gets past a
limit. Where processes share a ledger, the store decides, and what is kept here is a view of it: `spent` is never more
than was spent.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from math import ceil
from typing import NamedTuple

from core.llm.accounting.budgets import USERS_KEPT, Account, Budget, BudgetStatus, units
from core.llm.common.clock import Clock, SystemClock
from core.llm.common.decisions import BudgetAlert
from core.llm.common.events import EventBus
from core.llm.common.exceptions import BudgetExceeded
from core.llm.common.types import ModelRef
from core.llm.state.holds import Claim, Hold, Scope, SharedStore
from core.llm.state.rows import AttemptRow

SpentBefore = Callable[[Claim, str], int]
"""What the rows that are remembered say about a claim in a currency."""


class _Taken(NamedTuple):
    hold: Hold
    accounts: list[tuple[Budget, Account]]
    version: int
    """Of the budgets that it was taken out of."""


def _nothing(_: Claim, __: str) -> int:
    return 0


class Purse:
    """The budgets in force, across configurations."""

    def __init__(self) -> None:
        self.budgets: tuple[Budget, ...] = ()
        self.version = 0
        """Grows with each change of the budgets."""
        self.shared: SharedStore | None = None
        """Decides where several processes spend together; `None` where this one is alone."""
        self.spent_before: SpentBefore = _nothing
        self.currency = "USD"
        self._threshold = 1.0
        self._zone = "UTC"
        self._clock: Clock = SystemClock()
        self._events = EventBus()
        self._taken: dict[str, _Taken] = {}

    def configure(
        self,
        budgets: tuple[Budget, ...],
        *,
        threshold: float,
        zone: str,
        currency: str,
        clock: Clock,
        events: EventBus,
    ) -> None:
        """Hold every next attempt to *budgets*. What is spent of one that stays, whatever its amount, stays spent."""
        # An amount in another currency is no amount of this one.
        before = {one.identity: one for one in self.budgets} if currency == self.currency else {}
        self._clock, self._events = clock, events
        self._threshold, self._zone, self.currency = threshold, zone, currency
        for budget in budgets:
            budget.alert_at = ceil(threshold * budget.limit)
            known = before.get(budget.identity)
            if known is not None:
                budget.continue_from(known)
            else:
                budget.since = clock.now()
        self.budgets = budgets
        self.version += 1

    def touching(self, ref: ModelRef) -> tuple[Budget, ...]:
        """The budgets that attempts at *ref* may count in."""
        return tuple([budget for budget in self.budgets if budget.may_cover(ref.provider, ref.model)])

    @property
    def active(self) -> bool:
        """Whether a row that ends is to be settled."""
        return bool(self.budgets or self._taken)

    def overdrawn(self, budgets: tuple[Budget, ...], hold: Hold) -> BudgetExceeded | None:
        """Why *hold* would be refused whatever becomes of attempts under way; `None` where it may not be."""
        user, now, nanos = hold.spender.user, hold.started, hold.nanos
        try:
            for budget in budgets:
                if budget.covers(hold.spender):
                    account = budget.find(user, now) or self._admitted(budget, user, now)
                    if account.spent + nanos > budget.limit:
                        return self._refusal(budget, account, nanos)
        except BudgetExceeded as error:
            return error
        return None

    def take(self, budgets: tuple[Budget, ...], hold: Hold) -> None:
        """Hold what an attempt may cost at most, until `settle` or `release`.

        Raises:
            BudgetExceeded: one of *budgets* has less than that left; nothing is held.
        """
        accounts: list[tuple[Budget, Account]] = []
        user, now, nanos = hold.spender.user, hold.started, hold.nanos
        for budget in budgets:
            if budget.covers(hold.spender):
                account = budget.find(user, now) or self._admitted(budget, user, now)
                if account.spent + account.held + nanos > budget.limit:
                    raise self._refusal(budget, account, nanos, account.held)
                accounts.append((budget, account))
        self._keep(hold, accounts)

    async def take_shared(
        self, store: SharedStore, budgets: tuple[Budget, ...], hold: Hold, guard: AbstractContextManager[object]
    ) -> None:
        """`take` where other processes spend as well: *store* decides. *guard* bounds the wait for it.

        Raises:
            BudgetExceeded: one of *budgets* has less than that left, or the store cannot say.
        """
        user, now = hold.spender.user, hold.started
        covering = [budget for budget in budgets if budget.covers(hold.spender)]
        if not covering:
            return
        claims = [budget.claim(user, now) for budget in covering]
        try:
            with guard:
                verdict = await store.reserve(hold, claims, self.currency)
        except BaseException:
            # Whether it was reserved is not known; the store works in order, so this comes after it.
            store.release(hold.attempt_id)
            raise
        for budget in covering:
            budget.has_room(now, for_a_view=True)
        accounts = [self._account(budget, user, now) for budget in covering]
        for budget, account, standing in zip(covering, accounts, verdict.standings, strict=False):
            account.spent = standing.spent
            self._tell(budget, account)
        if verdict.refused:
            last = len(verdict.standings) - 1
            raise self._refusal(covering[last], accounts[last], hold.nanos, verdict.standings[last].held)
        self._keep(hold, list(zip(covering, accounts, strict=True)))

    def _keep(self, hold: Hold, accounts: list[tuple[Budget, Account]]) -> None:
        for _, account in accounts:
            account.held += hold.nanos
        if accounts:
            self._taken[hold.attempt_id] = _Taken(hold, accounts, self.version)

    def hold_of(self, attempt_id: str) -> Hold | None:
        """What an attempt holds: its moment decides about the windows that it counts in."""
        taken = self._taken.get(attempt_id)
        return None if taken is None else taken.hold

    def release(self, attempt_id: str) -> None:
        """Give back what an attempt holds that was never booked. Idempotent."""
        taken = self._taken.pop(attempt_id, None)
        if taken is not None:
            _give_back(taken)
            if self.shared is not None:
                self.shared.release(attempt_id)

    def settle(self, row: AttemptRow) -> None:
        """Book what the attempt of *row* did cost, in the windows it began in. Called once per row."""
        taken = self._taken.pop(row.attempt_id, None)
        if taken is not None:
            _give_back(taken)
        nanos = row.nanos
        if not nanos or row.currency != self.currency:
            return
        if taken is not None and taken.version == self.version:
            for budget, account in taken.accounts:
                account.spent += nanos
                if account.spent >= budget.alert_at:
                    self._tell(budget, account)
            return
        # It began before the budgets that are in force now, or costs what nobody had expected to cost anything.
        spender = Scope(row.provider, row.model, row.alias or "", row.user or "")
        for budget in self.budgets:
            if budget.covers(spender):
                account = self._account(budget, spender.user, row.started)
                account.spent += nanos
                self._tell(budget, account)

    async def status(self) -> tuple[BudgetStatus, ...]:
        """How every budget stands now."""
        now, found = self._clock.now(), []
        for budget in self.budgets:
            known = dict(budget.accounts(now))
            for user in known or ([""] if not budget.each_user else []):
                claim = budget.claim(user, now)
                if self.shared is not None:
                    ((spent, held),) = await self.shared.standings([claim], self.currency)
                else:
                    account = self._account(budget, user, now)
                    spent, held = account.spent, account.held
                found.append(
                    BudgetStatus(
                        budget.name,
                        claim.scope,
                        budget.period,
                        budget.amount,
                        units(spent),
                        units(held),
                        self.currency,
                        self._local(claim.stop, budget),
                    )
                )
        return tuple(found)

    async def look(self) -> None:
        """Learn from the store what was spent before, for those budgets that need no user to be named."""
        if self.shared is None:
            return
        now = self._clock.now()
        wanted = [budget for budget in self.budgets if not budget.each_user]
        found = await self.shared.standings([budget.claim("", now) for budget in wanted], self.currency)
        for budget, standing in zip(wanted, found, strict=True):
            self._account(budget, "", now).spent = standing.spent

    def _admitted(self, budget: Budget, user: str, now: datetime) -> Account:
        """A new account, where there is room for one."""
        if budget.has_room(now, for_a_view=self.shared is not None):
            return self._account(budget, user, now)
        stop = budget.window(now).stop
        error = BudgetExceeded(
            f"{budget.name}: {USERS_KEPT} users have spent something this {budget.period}, and no more are counted in "
            "memory, so this one is refused: keep budgets in a file (`state.backend: sqlite`)"
        )
        error.resets_at = self._local(stop, budget)
        raise error

    def _account(self, budget: Budget, user: str, now: datetime) -> Account:
        account = budget.find(user, now)
        if account is None:
            spent = 0
            claim = budget.claim(user, now)
            # A window that has begun before anybody counted: what rows are left of it say what is gone.
            if self.shared is None and (budget.since is None or claim.start < budget.since):
                spent = self.spent_before(claim, self.currency)
            account = budget.open(user, now, spent)
            if self.shared is None:
                account.told = self._share(budget, account)
        return account

    def _share(self, budget: Budget, account: Account) -> float:
        """The threshold that *account* has reached."""
        if account.spent >= budget.limit:
            return 1.0
        return self._threshold if account.spent >= budget.alert_at else 0.0

    def _tell(self, budget: Budget, account: Account, share: float | None = None) -> None:
        reached = self._share(budget, account) if share is None else share
        before, account.told = account.told, max(reached, account.told or 0.0)
        if before is not None and reached > before:
            self._events.publish(
                BudgetAlert(
                    budget.name,
                    reached,
                    units(account.spent),
                    budget.amount,
                    self.currency,
                    self._local(account.window.stop, budget),
                )
            )

    def _refused(self, budget: Budget, account: Account) -> None:
        """What is refused near the limit shows that the budget is used up, whatever is left of it."""
        if account.spent >= budget.alert_at:
            self._tell(budget, account, 1.0)

    def _refusal(self, budget: Budget, account: Account, nanos: int, held: int = 0) -> BudgetExceeded:
        self._refused(budget, account)
        error = BudgetExceeded(self._reason(budget, account, nanos, held))
        error.resets_at = self._local(account.window.stop, budget)
        return error

    def _reason(self, budget: Budget, account: Account, nanos: int, held: int = 0) -> str:
        each = " of this user" if budget.each_user else ""
        gone = f"{units(account.spent):f} {self.currency} of {budget.amount:f} are spent"
        if held:
            gone += f" and {units(held):f} held for attempts under way"
        return (
            f"{budget.name}{each}: {gone} this {budget.period}, and this attempt may cost {units(nanos):f}. "
            f"It begins anew at {self._local(account.window.stop, budget).isoformat()} ({self._zone}): wait, lower "
            "max_tokens, or raise it"
        )

    def _local(self, moment: datetime, budget: Budget) -> datetime:
        return moment.astimezone(budget.zone)


def _give_back(taken: _Taken) -> None:
    for _, account in taken.accounts:
        account.held -= taken.hold.nanos
