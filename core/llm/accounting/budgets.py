"""Budgets: what may be spent in which window, and what is gone of it. Whole billionths of the currency's unit."""

from collections import deque
from collections.abc import Iterator
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Final, NamedTuple

from core.llm.accounting.windows import Window, window_at
from core.llm.common.zones import zone
from core.llm.providers.config.models.costs import EVERY_USER, Period, ScopeOptions, subject_and_period
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.state.holds import Claim, Scope
from core.llm.state.rows import NANO, to_nanos

WINDOWS_KEPT: Final = 4
"""So many windows of a budget are remembered: a clock that is set back finds what was spent in the one before."""
USERS_KEPT: Final = 250_000
"""Users with an account of their own in one budget. What somebody has spent in an open window is never forgotten:
further ones are refused until it ends, unless a file remembers them."""


_EVERYTHING: Final = Scope()


class Account:
    """What is gone of one budget in one window."""

    __slots__ = ("held", "spent", "told", "window")

    def __init__(self, window: Window, spent: int = 0) -> None:
        self.window = window
        self.spent = spent
        self.held = 0
        self.told: float | None = None
        """The highest share that was told; `None` until it is known what was spent before."""


class _Books:
    """The accounts of a budget in its last windows, by user and start."""

    __slots__ = ("_full_in", "_recent", "accounts")

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, datetime], Account] = {}
        self._recent: deque[Window] = deque(maxlen=WINDOWS_KEPT)
        self._full_in: datetime | None = None

    def turn_to(self, window: Window) -> None:
        """Remember *window*, and forget those that were used the longest ago."""
        known = window in self._recent
        if known:
            self._recent.remove(window)
        self._recent.append(window)
        if not known:
            kept = {one.start for one in self._recent}
            for key in [key for key, one in self.accounts.items() if key[1] not in kept and not one.held]:
                del self.accounts[key]

    def make_room(self, open_since: datetime, *, for_a_view: bool) -> bool:
        """Forget windows that have ended, and accounts that no money is in; where a file remembers them, all."""
        if self._full_in == open_since:
            return False
        for key, one in list(self.accounts.items()):
            if not one.held and (for_a_view or not one.spent or key[1] != open_since):
                del self.accounts[key]
        # Nearly full is full: it is not worth looking through all of them for every new user.
        if len(self.accounts) > 0.9 * USERS_KEPT:
            self._full_in = open_since
        return len(self.accounts) < USERS_KEPT


class Budget:
    """A limit for whatever a scope covers, in the windows of one time zone."""

    __slots__ = (
        "_books",
        "_window",
        "alert_at",
        "amount",
        "each_user",
        "limit",
        "name",
        "period",
        "scope",
        "since",
        "zone",
    )

    def __init__(self, name: str, scope: Scope, period: Period, amount: Decimal, zone: tzinfo) -> None:
        self.name = name
        """Where it stands in the configuration, for messages."""
        self.scope = scope
        self.each_user = scope.user == EVERY_USER
        """Whether each user has an account of his own."""
        self.period = period
        self.amount = amount
        self.limit = to_nanos(amount)
        self.zone = zone
        self.alert_at = self.limit
        """From which amount on it is told that the budget is being used up."""
        self.since: datetime | None = None
        """Since when what is spent is counted here."""
        self._window: Window | None = None
        self._books = _Books()

    @property
    def identity(self) -> tuple[Scope, Period, str]:
        """What stays the same where only the amount is edited."""
        return (self.scope, self.period, str(self.zone))

    def continue_from(self, before: "Budget") -> None:
        """Go on with what is gone of *before*, which has the same identity."""
        self.since = before.since
        self._books = before._books  # noqa: SLF001 - another one of the same class

    def may_cover(self, provider: str, model: str) -> bool:
        """Whether some attempt at this model counts here."""
        scope = self.scope
        return (not scope.provider or scope.provider == provider) and (not scope.model or scope.model == model)

    def covers(self, spender: Scope) -> bool:
        """Whether what *spender* does counts here."""
        if self.each_user:
            return bool(spender.user) and self.scope._replace(user=spender.user).covers(spender)
        return self.scope == _EVERYTHING or self.scope.covers(spender)

    def window(self, now: datetime) -> Window:
        """The window that *now* lies in."""
        window = self._window
        if window is None or not window.start <= now < window.stop:
            window = self._window = window_at(now, self.period, self.zone)
            self._books.turn_to(window)
        return window

    def find(self, user: str, now: datetime) -> Account | None:
        """The account of *user* in the window of *now*, if there is one yet; *user* counts where each has his own."""
        return self._books.accounts.get((user if self.each_user else "", self.window(now).start))

    def has_room(self, now: datetime, *, for_a_view: bool) -> bool:
        """Whether one more user may have an account; *for_a_view*: what is kept here, a file knows as well."""
        if not self.each_user or len(self._books.accounts) < USERS_KEPT:
            return True
        return self._books.make_room(self.window(now).start, for_a_view=for_a_view)

    def open(self, user: str, now: datetime, spent: int) -> Account:
        """The account of *user* in the window of *now*, which begins with *spent*."""
        window = self.window(now)
        account = Account(window, spent)
        self._books.accounts[user if self.each_user else "", window.start] = account
        return account

    def accounts(self, now: datetime) -> Iterator[tuple[str, Account]]:
        """Every account of the window of *now*, by user where each has his own."""
        start = self.window(now).start
        return ((user, account) for (user, begun), account in list(self._books.accounts.items()) if begun == start)

    def claim(self, user: str, now: datetime) -> Claim:
        """This budget as a store is asked for it."""
        window = self.window(now)
        scope = self.scope._replace(user=user) if self.each_user else self.scope
        return Claim(scope, window.start, window.stop, self.limit)


class BudgetStatus(NamedTuple):
    """How a budget stands in its running window."""

    name: str
    """Where it stands in the configuration."""
    scope: Scope
    period: Period
    limit: Decimal
    spent: Decimal
    held: Decimal
    """What attempts under way may cost at most."""
    currency: str
    resets_at: datetime

    @property
    def left(self) -> Decimal:
        """What may still be spent."""
        return max(Decimal(0), self.limit - self.spent - self.held)


def budgets_of(config: LLMServiceConfig) -> tuple[Budget, ...]:
    """The budgets of *config*, those for everything first."""
    costs = config.costs
    if not costs.limited:
        return ()
    where = zone(costs.timezone)
    found: list[Budget] = []
    if costs.daily_limit is not None:
        found.append(Budget("costs.daily_limit", Scope(), "day", costs.daily_limit, where))
    if costs.monthly_budget is not None:
        found.append(Budget("costs.monthly_budget", Scope(), "month", costs.monthly_budget, where))
    if isinstance(costs.limits, tuple):
        for index, limit in enumerate(costs.limits):
            scope = scope_of(limit.scope, config)
            found.append(Budget(f"costs.limits[{index}]", scope, limit.period, limit.amount, where))
        return tuple(found)
    for name, amount in costs.limits.items():
        parts = subject_and_period(name)
        if parts is not None:
            subject, period = parts
            # `provider/model` names a model; a name without a slash is an alias, unless a provider has it.
            scope = (
                Scope(provider=subject)
                if subject in config.providers
                else Scope(alias=subject)
                if subject in config.models
                else scope_of(ScopeOptions(model=subject), config)
            )
            found.append(Budget(f"costs.limits.{name}", scope, period, amount, where))
    return tuple(found)


def scope_of(options: ScopeOptions, config: LLMServiceConfig) -> Scope:
    """*options* with a model that names its provider taken apart."""
    provider, model = options.provider or "", options.model or ""
    head, slash, tail = model.partition("/")
    if slash and not provider and head in config.providers:
        provider, model = head, tail
    elif slash and head == provider:
        model = tail
    return Scope(provider, model, options.alias or "", options.user or "")


def units(nanos: int) -> Decimal:
    """*nanos* in the currency's unit."""
    return Decimal(nanos) / NANO
