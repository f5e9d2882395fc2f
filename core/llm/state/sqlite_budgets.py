"""Reservations and spent amounts in the ledger's file, so that processes that share it share their budgets.

What is spent of a window stands in `budget_windows`. A row is made from the attempts when a window is first asked for,
and grows by a trigger with each attempt that is closed, whoever closes it: an attempt that is closed once is booked
once. What is held is the sum of the reservations of attempts under way.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from core.llm.state.holds import Claim, Hold, Scope, Standing, Verdict
from core.llm.state.sqlite_rows import storable

TABLES: Final = """
CREATE TABLE IF NOT EXISTS budget_windows (
    provider TEXT NOT NULL, model TEXT NOT NULL, alias TEXT NOT NULL, user TEXT NOT NULL, currency TEXT NOT NULL,
    start TEXT NOT NULL, stop TEXT NOT NULL, spent INTEGER NOT NULL,
    PRIMARY KEY (provider, model, alias, user, currency, start, stop)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservations (
    attempt_id TEXT PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, alias TEXT NOT NULL, user TEXT NOT NULL,
    currency TEXT NOT NULL, started TEXT NOT NULL, nanos INTEGER NOT NULL, owner TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attempts_user ON attempts (user, started) WHERE user IS NOT NULL;
CREATE TRIGGER IF NOT EXISTS attempts_closed AFTER UPDATE OF state ON attempts
WHEN OLD.state = 'open' AND NEW.state <> 'open'
BEGIN
    UPDATE budget_windows SET spent = spent + coalesce(NEW.nanos, 0)
    WHERE start <= NEW.started AND NEW.started < stop AND currency = NEW.currency
        AND provider IN ('', NEW.provider) AND model IN ('', NEW.model)
        AND alias IN ('', coalesce(NEW.alias, '')) AND user IN ('', coalesce(NEW.user, ''));
    DELETE FROM reservations WHERE attempt_id = NEW.attempt_id;
END;
"""
_WINDOW: Final = "provider = ? AND model = ? AND alias = ? AND user = ? AND currency = ? AND start = ? AND stop = ?"


def reserve(connection: sqlite3.Connection, hold: Hold, claims: Sequence[Claim], currency: str, owner: str) -> Verdict:
    """Take *hold* out of all *claims* or none, within the transaction that is open."""
    standings: list[Standing] = []
    for claim in claims:
        standing = standing_of(connection, claim, currency)
        standings.append(standing)
        if standing.spent + standing.held + hold.nanos > claim.limit:
            return Verdict(tuple(standings), refused=True)
    connection.execute(
        "INSERT OR REPLACE INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (hold.attempt_id, *map(storable, hold.spender), currency, _text(hold.started), hold.nanos, owner),
    )
    return Verdict(tuple(standings), refused=False)


def release(connection: sqlite3.Connection, attempt_id: str) -> None:
    """Give back what an attempt holds that was never begun."""
    connection.execute("DELETE FROM reservations WHERE attempt_id = ?", (attempt_id,))


def standing_of(connection: sqlite3.Connection, claim: Claim, currency: str) -> Standing:
    """How much of *claim* is gone."""
    begin, end = _text(claim.start), _text(claim.stop)
    key = (*map(storable, claim.scope), currency, begin, end)
    found = connection.execute(f"SELECT spent FROM budget_windows WHERE {_WINDOW}", key).fetchone()  # noqa: S608 - constants
    condition, values = _condition(claim.scope)
    inside = (currency, begin, end, *values)
    if found is None:
        found = connection.execute(
            "SELECT coalesce(sum(nanos), 0) FROM attempts"  # noqa: S608 - constants
            f" WHERE state <> 'open' AND currency = ? AND started >= ? AND started < ?{condition}",
            inside,
        ).fetchone()
        if connection.in_transaction:
            # What is no longer there is summed up again, should a clock be set back to it.
            connection.execute("DELETE FROM budget_windows WHERE stop < ?", (begin,))
            connection.execute("INSERT INTO budget_windows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*key, found[0]))
    held = connection.execute(
        "SELECT coalesce(sum(nanos), 0) FROM reservations"  # noqa: S608 - constants
        f" WHERE currency = ? AND started >= ? AND started < ?{condition}",
        inside,
    ).fetchone()
    return Standing(found[0], held[0])


def owners(connection: sqlite3.Connection) -> set[str]:
    """Who holds something."""
    if not _is_there(connection):
        return set()
    return {owner for (owner,) in connection.execute("SELECT DISTINCT owner FROM reservations")}


def book_what_is_held(connection: sqlite3.Connection, dead: Iterable[str]) -> None:
    """Let the open attempts of processes that have died cost what they hold; what was never begun costs nothing."""
    if not _is_there(connection):
        return
    for owner in dead:
        connection.execute(
            "UPDATE attempts SET nanos = coalesce((SELECT nanos FROM reservations"
            " WHERE reservations.attempt_id = attempts.attempt_id), nanos) WHERE state = 'open' AND owner = ?",
            (owner,),
        )
        connection.execute(
            "DELETE FROM reservations WHERE owner = ? AND attempt_id NOT IN"
            " (SELECT attempt_id FROM attempts WHERE state = 'open')",
            (owner,),
        )


def _is_there(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE name = 'reservations'"
    return connection.execute(query).fetchone() is not None


def _condition(scope: Scope) -> tuple[str, tuple[Any, ...]]:
    """Which rows *scope* covers, as a condition and its values."""
    named = [(name, storable(value)) for name, value in zip(Scope._fields, scope, strict=True) if value]
    return "".join(f" AND {name} = ?" for name, _ in named), tuple(value for _, value in named)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
