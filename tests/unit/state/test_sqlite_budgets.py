"""Budgets in the ledger's file: what all processes hold and have spent, booked once whoever closes an attempt."""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.llm.common.exceptions import BudgetExceeded, ConfigError
from core.llm.common.types import Usage
from core.llm.state.holds import Claim, Hold, Scope, Standing
from core.llm.state.rows import AttemptRow
from core.llm.state.sqlite import SqliteStore

START = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)
EVERYTHING = Scope()
ANN = Scope("alpha", "m", "fast", "ann")


def claim(limit: int = 100, scope: Scope = EVERYTHING, day: int = 0) -> Claim:
    return Claim(scope, START + day * DAY, START + (day + 1) * DAY, limit)


def hold(number: int, nanos: int = 10, spender: Scope = ANN) -> Hold:
    return Hold(f"c-{number}", spender, START + timedelta(seconds=number), nanos)


async def begin(store: SqliteStore, of: Hold) -> AttemptRow:
    spender = of.spender
    row = AttemptRow(
        of.attempt_id, "c", 1, spender.provider, spender.model, of.started, user=spender.user or None,
        alias=spender.alias or None,
    )  # fmt: skip
    await store.begin(row)
    return row


def settle(store: SqliteStore, row: AttemptRow, nanos: int) -> None:
    row.book("settled", Usage(1), None)
    row.nanos = nanos
    store.settle(row)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
async def store(path: Path):
    opened = await ready(path)
    yield opened
    await opened.close()


async def ready(path: Path) -> SqliteStore:
    opened = SqliteStore(path)
    await opened.open()
    await opened.open_budgets()
    return opened


async def test_F156_two_processes_cannot_hold_more_than_the_limit_together(store, path):
    other = await ready(path)
    verdicts = await asyncio.gather(
        *(side.reserve(hold(2 * number + index), [claim()], "USD") for number in range(20) for index, side in enumerate((store, other)))
    )  # fmt: skip
    assert sum(not verdict.refused for verdict in verdicts) == 10
    assert await store.standings([claim()], "USD") == (Standing(0, 100),)
    await other.close()


async def test_F155_an_attempt_that_is_closed_twice_is_booked_once(store):
    one = hold(1)
    await store.reserve(one, [claim()], "USD")
    row = await begin(store, one)
    settle(store, row, 7)
    settle(store, row, 7)
    store.release(one.attempt_id)
    assert await store.standings([claim()], "USD") == (Standing(7, 0),)


async def test_what_was_spent_before_anybody_asked_is_in_the_attempts(store):
    for number, spender in enumerate((ANN, ANN._replace(user="bob"), ANN._replace(provider="beta", alias=""))):
        settle(store, await begin(store, hold(number, spender=spender)), 5)
    wanted = [
        claim(), claim(scope=Scope("alpha")), claim(scope=Scope(alias="fast", user="ann")), claim(scope=Scope("beta")),
        claim(day=1), claim(day=-1),
    ]  # fmt: skip
    found = await store.standings(wanted, "USD")
    assert [standing.spent for standing in found] == [15, 10, 5, 5, 0, 0]
    assert {standing.spent for standing in await store.standings(wanted, "EUR")} == {0}
    verdict = await store.reserve(hold(9, 86), wanted[:1], "USD")
    assert verdict.refused
    assert verdict.standings == (Standing(15, 0),)


async def test_a_window_that_is_known_grows_with_every_attempt_that_ends_in_it(store, path):
    """Also with those of a process that knows of no budgets."""
    unaware = SqliteStore(path)
    await unaware.open()
    await store.reserve(hold(1), [claim(), claim(scope=Scope("beta"))], "USD")
    settle(unaware, await begin(unaware, hold(2)), 30)
    await unaware.flush()
    assert await store.standings([claim(), claim(scope=Scope("beta"))], "USD") == (Standing(30, 10), Standing(0, 0))
    await unaware.close()


async def test_F155_a_late_end_is_booked_where_the_attempt_began(store):
    one = hold(1)
    await store.reserve(one, [claim()], "USD")
    row = await begin(store, one)
    await store.reserve(hold(1 + 86_400), [claim(day=1)], "USD")
    settle(store, row, 9)
    assert await store.standings([claim(), claim(day=1)], "USD") == (Standing(9, 0), Standing(0, 10))


async def test_what_was_never_begun_is_given_back(store):
    await store.reserve(hold(1), [claim()], "USD")
    store.release("c-1")
    assert await store.standings([claim()], "USD") == (Standing(0, 0),)


async def test_what_one_claim_refuses_is_held_by_none(store):
    verdict = await store.reserve(hold(1), [claim(), claim(5, Scope("alpha"))], "USD")
    assert verdict.refused
    assert len(verdict.standings) == 2
    assert await store.standings([claim()], "USD") == (Standing(0, 0),)


async def test_F154_the_attempts_of_a_dead_process_cost_what_they_held(store, path):
    """For one that was never begun nothing was sent; a late end of the other changes nothing any more."""
    begun, never = hold(1), hold(2)
    await store.reserve(begun, [claim()], "USD")
    row = await begin(store, begun)
    await store.reserve(never, [claim()], "USD")
    await store.flush()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE attempts SET owner = '999999:1'")
        connection.execute("UPDATE reservations SET owner = '999999:1'")
    connection.close()
    other = await ready(path)
    assert await other.standings([claim()], "USD") == (Standing(10, 0),)
    (found,) = await other.rows(None, None, 10)
    assert (found.state, found.nanos) == ("ambiguous", 10)
    settle(store, row, 3)
    assert await store.standings([claim()], "USD") == (Standing(10, 0),)
    await other.close()


async def test_F157_where_nothing_can_be_written_nothing_is_sent(store, path):
    """Hard budgets refuse rather than guess; once the disk takes rows again they go on."""
    await store.flush()
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE reservations RENAME TO gone")
    with pytest.raises(BudgetExceeded, match=r"ledger .* cannot be written: nothing was sent"):
        await store.reserve(hold(1), [claim()], "USD")
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE gone RENAME TO reservations")
    connection.close()
    await store.flush()
    assert not (await store.reserve(hold(2), [claim()], "USD")).refused


async def test_a_file_of_the_version_before_gets_what_is_missing(path):
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE attempts (attempt_id TEXT PRIMARY KEY, call_id TEXT NOT NULL, number INTEGER NOT NULL,"
        " provider TEXT NOT NULL, model TEXT NOT NULL, started TEXT NOT NULL, role TEXT NOT NULL, user TEXT,"
        " key_id TEXT, state TEXT NOT NULL, input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER"
        " NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL, estimated INTEGER NOT NULL, nanos INTEGER,"
        " currency TEXT NOT NULL, price_source TEXT, error TEXT, duration REAL NOT NULL, owner TEXT NOT NULL)"
        " WITHOUT ROWID;"
        "INSERT INTO attempts VALUES ('a', 'a', 1, 'alpha', 'm', '2026-11-20T01:00:00+00:00', 'first', NULL, NULL,"
        " 'settled', 1, 0, 0, 1, 0, 0, 42, 'USD', NULL, NULL, 0.1, '1:1');"
        "PRAGMA user_version = 1;"
    )
    connection.close()
    opened = await ready(path)
    (row,) = await opened.rows(None, None, 10)
    assert (row.attempt_id, row.alias, row.nanos) == ("a", None, 42)
    assert await opened.standings([claim()], "USD") == (Standing(42, 0),)
    await opened.close()


async def test_a_file_that_takes_no_budgets_is_said_as_a_mistake_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match="budgets cannot be kept in the ledger"):
        await SqliteStore(tmp_path).open_budgets()


async def test_windows_long_gone_leave_the_file(store, path):
    for day in range(5):
        await store.reserve(hold(day * 86_400 + 1), [claim(day=day)], "USD")
    await store.flush()
    connection = sqlite3.connect(path)
    starts = [start for (start,) in connection.execute("SELECT start FROM budget_windows ORDER BY start")]
    connection.close()
    assert [start[:10] for start in starts] == ["2026-11-23", "2026-11-24"]
