"""Rows as an SQLite file has them: the table, the statements, and the way there and back."""

import sqlite3
from datetime import UTC, datetime
from typing import Any, Final, cast

from core.llm.common.log import log
from core.llm.common.types import Usage
from core.llm.state.rows import AttemptRow, RowState

MOST: Final = 10**15
"""Tokens, or billionths of a unit of money, that one attempt is booked with at most: a million units. What a provider
has made up beyond that could not be summed up, nor be stored in the end."""

TABLE: Final = """
CREATE TABLE IF NOT EXISTS attempts (
    attempt_id TEXT PRIMARY KEY, call_id TEXT NOT NULL, number INTEGER NOT NULL, provider TEXT NOT NULL,
    model TEXT NOT NULL, started TEXT NOT NULL, role TEXT NOT NULL, user TEXT, key_id TEXT, state TEXT NOT NULL,
    input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL, output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL, estimated INTEGER NOT NULL, nanos INTEGER, currency TEXT NOT NULL, price_source TEXT,
    error TEXT, duration REAL NOT NULL, owner TEXT NOT NULL, alias TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attempts_started ON attempts (started);
CREATE INDEX IF NOT EXISTS attempts_call ON attempts (call_id);
"""
COLUMNS: Final = (
    "attempt_id, call_id, number, provider, model, started, role, user, key_id, state, input, cache_read, cache_write,"
    " output, reasoning, estimated, nanos, currency, price_source, error, duration, owner, alias"
)
BEGIN: Final = f"INSERT OR IGNORE INTO attempts ({COLUMNS}) VALUES ({', '.join('?' * 23)})"  # noqa: S608 - constants
# A row is closed once: what is no longer open is not booked a second time.
SETTLE: Final = (
    "UPDATE attempts SET state = ?, input = ?, cache_read = ?, cache_write = ?, output = ?, reasoning = ?,"
    " estimated = ?, nanos = ?, currency = ?, price_source = ?, error = ?, duration = ?, key_id = ?"
    " WHERE attempt_id = ? AND state = 'open'"
)


def values_of(row: AttemptRow, owner: str) -> tuple[Any, ...]:
    """What `BEGIN` writes."""
    usage = row.usage
    return (
        row.attempt_id, row.call_id, row.number, row.provider, row.model, row.started.isoformat(), row.role,
        row.user, row.key_id, row.state, usage.input, usage.cache_read, usage.cache_write, usage.output,
        usage.reasoning, usage.estimated, row.nanos, row.currency, row.price_source, row.error, row.duration,
        owner, row.alias,
    )  # fmt: skip


def end_of(row: AttemptRow) -> tuple[Any, ...]:
    """What `SETTLE` writes."""
    usage = row.usage
    counts: tuple[int, ...] = (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
    nanos = row.nanos
    if max(counts) > MOST or (nanos is not None and nanos > MOST):
        log("WARNING", "attempt {} is booked with less than the absurd amount it is said to have used", row.attempt_id)
        counts, nanos = tuple([min(count, MOST) for count in counts]), nanos and min(nanos, MOST)
    return (
        row.state, *counts, usage.estimated, nanos, row.currency, row.price_source, row.error, row.duration,
        row.key_id, row.attempt_id,
    )  # fmt: skip


def execute(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> None:
    """Execute *statement*, also where a value is one that the file cannot hold as it is."""
    try:
        connection.execute(statement, values)
    except (OverflowError, UnicodeEncodeError) as error:
        log("WARNING", "the ledger writes an attempt with values changed that it cannot hold: {}", type(error).__name__)
        connection.execute(statement, tuple(map(storable, values)))


def storable(value: Any) -> Any:
    """*value*, or what comes nearest to it in a file: text is UTF-8, and a number has 63 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return min(value, MOST) if isinstance(value, int) else value


def condition(call_id: str | None, since: datetime | None) -> tuple[str, tuple[Any, ...]]:
    """Which rows are meant, as a condition and its values."""
    if call_id is not None:
        return "WHERE call_id = ?", (call_id,)
    if since is not None:
        return "WHERE started >= ?", (since.astimezone(UTC).isoformat(),)
    return "", ()


def row_of(line: tuple[Any, ...]) -> AttemptRow:
    """The attempt of one line of `COLUMNS`."""
    usage = Usage(line[10], line[11], line[12], line[13], line[14], bool(line[15]))
    return AttemptRow(
        line[0], line[1], line[2], line[3], line[4], datetime.fromisoformat(line[5]), line[6], line[7], line[8],
        cast("RowState", line[9]), usage, line[16], line[17], line[18], line[19], line[20],
        alias=line[22], closed=line[9] != "open",
    )  # fmt: skip
