"""One row per attempt: written before the request is sent, closed exactly once. Data and arithmetic only."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal

from core.llm.common.types import Billing, Cost, Usage

RowState = Literal["open"] | Billing
"""`open` until the attempt has ended; then what it cost: proven nothing, as the provider reported, our estimate, or
unknown (sent, no answer; booked at the estimate of its prompt)."""

NANO: Final = 10**9
"""Amounts are kept as whole billionths of the currency's unit, so that sums are exact."""
_NANO: Final = Decimal(NANO)


@dataclass(slots=True)
class AttemptRow:
    """One request to one provider."""

    attempt_id: str
    call_id: str
    number: int
    provider: str
    model: str
    started: datetime
    role: str = "first"
    user: str | None = None
    key_id: str | None = None
    state: RowState = "open"
    usage: Usage = Usage()  # noqa: RUF009 - frozen, so that all rows may share one
    nanos: int | None = None
    """Cost in billionths of the currency's unit; `None` where no price is known."""
    currency: str = "USD"
    price_source: str | None = None
    error: str | None = None
    """Type of the error that ended it; never its text."""
    duration: float = 0.0
    alias: str | None = None
    """The alias that the call asked for."""
    closed: bool = field(default=False, compare=False)
    """Whether it was handed in as ended; a second time changes nothing."""

    def book(self, state: Billing, usage: Usage, cost: Cost | None) -> None:
        """Note how the attempt ended."""
        if usage.raw is not None:
            # The provider's own object is as large as the row; ten thousand rows are remembered.
            usage = Usage(
                usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning, usage.estimated
            )
        self.state, self.usage = state, usage
        if cost is not None:
            self.nanos, self.currency, self.price_source = to_nanos(cost.amount), cost.currency, cost.source

    @property
    def amount(self) -> Decimal | None:
        """Cost in the currency's unit; `None` where no price is known."""
        return None if self.nanos is None else Decimal(self.nanos) / NANO


def to_nanos(amount: Decimal) -> int:
    """*amount* in whole billionths, rounded half up."""
    return int((amount * _NANO).to_integral_value(ROUND_HALF_UP))


@dataclass(slots=True)
class UsageTotal:
    """The sum over all attempts at one model that ended in one way."""

    provider: str
    model: str
    state: RowState
    currency: str
    attempts: int = 0
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    nanos: int = 0
    unpriced: int = 0
    """Attempts whose price is not known; they count in everything but the amount."""

    @property
    def amount(self) -> Decimal:
        """Cost in the currency's unit."""
        return Decimal(self.nanos) / NANO

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells this total from the others."""
        return (self.provider, self.model, self.state, self.currency)

    def add(self, row: AttemptRow) -> None:
        """Count *row* in."""
        usage = row.usage
        self.attempts += 1
        self.input += usage.input
        self.cache_read += usage.cache_read
        self.cache_write += usage.cache_write
        self.output += usage.output
        self.reasoning += usage.reasoning
        if row.nanos is None:
            self.unpriced += 1
        else:
            self.nanos += row.nanos


def totals_of(rows: Iterable[AttemptRow]) -> tuple[UsageTotal, ...]:
    """The sums of *rows* by model and outcome."""
    found: dict[tuple[str, str, str, str], UsageTotal] = {}
    for row in rows:
        total = UsageTotal(row.provider, row.model, row.state, row.currency)
        found.setdefault(total.key, total).add(row)
    return tuple(found.values())
