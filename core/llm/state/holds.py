"""What budgets ask of a store that several processes share. Data only; amounts are whole billionths."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol


class Scope(NamedTuple):
    """Which attempts count: those that agree in everything that is not empty."""

    provider: str = ""
    model: str = ""
    alias: str = ""
    user: str = ""

    def covers(self, spender: "Scope") -> bool:
        """Whether what *spender* does counts here."""
        provider, model, alias, user = self
        return (
            (not provider or provider == spender.provider)
            and (not model or model == spender.model)
            and (not alias or alias == spender.alias)
            and (not user or user == spender.user)
        )


class Claim(NamedTuple):
    """One budget in one of its windows."""

    scope: Scope
    start: datetime
    stop: datetime
    """The first moment that belongs to the next window."""
    limit: int


class Hold(NamedTuple):
    """What one attempt may cost at most."""

    attempt_id: str
    spender: Scope
    started: datetime
    nanos: int


class Standing(NamedTuple):
    """How much of a budget is gone: spent, and held for attempts under way."""

    spent: int
    held: int


class Verdict(NamedTuple):
    """What became of a reservation."""

    standings: tuple[Standing, ...]
    """Of the claims up to the one that refuses, before the reservation."""
    refused: bool


class SharedStore(Protocol):
    """Keeps reservations of all processes."""

    def reserve(self, hold: Hold, claims: Sequence[Claim], currency: str) -> "asyncio.Future[Verdict]":
        """Take *hold* out of all *claims*, or out of none of them."""

    def release(self, attempt_id: str) -> None:
        """Give back what an attempt holds that was never begun. Never blocks and never raises."""

    async def standings(self, claims: Sequence[Claim], currency: str) -> tuple[Standing, ...]:
        """How much of each of *claims* is gone."""
