"""What may be spent: budgets by day and month, for everything or for a part of it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from core.llm.providers.config.models.frozen import Frozen

EVERY_USER: Final = "*"
"""As a user: each of them has a budget of his own."""
Period = Literal["day", "month"]
Amount = Annotated[Decimal, Field(ge=0, le=10**9)]
_PERIODS: Final[Mapping[str, Period]] = {"daily": "day", "monthly": "month"}


class ScopeOptions(Frozen):
    """Which calls a budget counts: those that fit everything that is named here."""

    provider: str | None = Field(default=None, min_length=1)
    model: str | None = Field(default=None, min_length=1, description="`provider/model`, or a model at any provider.")
    alias: str | None = Field(
        default=None, min_length=1, description="Calls that asked for this alias, whoever answers."
    )
    user: str | None = Field(
        default=None, min_length=1, description="The `user` of a request; `*` gives each of them a budget of his own."
    )


class BudgetOptions(Frozen):
    """What calls of one scope may cost in one day or month."""

    scope: ScopeOptions
    amount: Amount
    period: Period


def _form(value: object) -> str:
    return "list" if isinstance(value, list | tuple) else "mapping"


Limits = Annotated[
    Annotated[Mapping[str, Amount], Tag("mapping")] | Annotated[tuple[BudgetOptions, ...], Tag("list")],
    Discriminator(_form),
]


class CostOptions(Frozen):
    """Budgets, in `currency`. What may cost more than is left is not sent."""

    monthly_budget: Amount | None = Field(default=None, description="For everything together.")
    daily_limit: Amount | None = Field(default=None, description="For everything together.")
    alert_threshold: float = Field(
        default=0.8, gt=0, le=1, description="Share of a budget from which on it is told once that it is being used up."
    )
    limits: Limits = Field(
        default_factory=dict,
        description="Budgets of a part: `<provider or alias>_daily`, `…_monthly`, or a list of scope, amount, period.",
    )
    timezone: str = Field(default="UTC", description="Whose midnight ends a day and a month, such as Europe/Berlin.")
    currency: str = Field(
        default="USD",
        pattern="^[A-Z]{3}$",
        examples=["USD"],
        description="Of all budgets and prices, by its three letters.",
    )

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        from core.llm.common.zones import zone  # noqa: PLC0415 - time zones are loaded by who names one

        zone(value)
        return value

    @property
    def limited(self) -> bool:
        """Whether there is any budget at all."""
        return self.monthly_budget is not None or self.daily_limit is not None or bool(self.limits)


def subject_and_period(name: str) -> tuple[str, Period] | None:
    """What a short form such as `openai_daily` is about; `None` where it does not end in a period."""
    subject, _, period = name.rpartition("_")
    return (subject, _PERIODS[period]) if subject and period in _PERIODS else None
