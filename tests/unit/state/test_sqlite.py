"""Rows in a file: written before they are acknowledged, closed once, found again by the next process."""

import asyncio
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from core.llm.common.exceptions import ConfigError
from core.llm.common.process_identity import is_alive, this_process
from core.llm.common.types import Cost, Usage
from core.llm.state.rows import AttemptRow, to_nanos
from core.llm.state.sqlite import SqliteStore

START = datetime(2026, 11, 20, 12, tzinfo=UTC)


def row(number: int = 1, call: str = "c", **fields: object) -> AttemptRow:
    """An attempt that has just begun."""
    return AttemptRow(f"{call}-{number}", call, number, "alpha", "m", START + timedelta(seconds=number), **fields)


@pytest.fixture
async def store(tmp_path: Path):
    opened = SqliteStore(tmp_path / "deep" / "ledger.db")
    assert await opened.open() == 0
    yield opened
    await opened.close()


def on_disk(path: Path) -> list[tuple[str, str]]:
    """Attempt and state as another process would see them."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT attempt_id, state FROM attempts ORDER BY attempt_id").fetchall()
    finally:
        connection.close()


async def test_what_is_acknowledged_is_in_the_file(store, tmp_path):
    """Another process sees the row before the request is sent."""
    await store.begin(row())
    assert on_disk(tmp_path / "deep" / "ledger.db") == [("c-1", "open")]


async def test_a_row_comes_back_as_it_was_settled(store):
    one = row(user="ann", key_id="k1", role="retry")
    await store.begin(one)
    one.book("settled", Usage(10, 2, 3, 4, 5), Cost(Decimal("0.0000012345"), "EUR", "config"))
    one.error, one.duration = "timeout", 1.5
    store.settle(one)
    (found,) = await store.rows("c", None, 10)
    assert found == replace(one, nanos=1235)
    assert found.amount == Decimal("0.000001235")


async def test_a_second_settlement_changes_nothing(store):
    """F155 for one process: exactly one booking."""
    one = row()
    await store.begin(one)
    one.book("settled", Usage(10), None)
    store.settle(one)
    one.book("ambiguous", Usage(99), None)
    store.settle(one)
    (found,) = await store.rows(None, None, 10)
    assert (found.state, found.usage.input) == ("settled", 10)


async def test_totals_are_exact_sums_by_model_and_outcome(store):
    for number in range(1, 101):
        one = row(number)
        await store.begin(one)
        one.book("settled" if number % 4 else "none", Usage(number), Cost(Decimal("0.1"), "USD"))
        store.settle(one)
    await store.begin(row(200))
    totals = {total.state: total for total in await store.totals(None)}
    assert totals["settled"].attempts == 75
    assert totals["settled"].amount == Decimal("7.5")
    assert totals["settled"].input == sum(number for number in range(101) if number % 4)
    assert set(totals) == {"settled", "none"}, "an open row is no outcome yet"
    later = await store.totals(START + timedelta(seconds=98))
    assert sum(total.attempts for total in later) == 3


async def test_a_thousand_rows_at_once_are_all_acknowledged(store):
    await asyncio.gather(*(store.begin(row(number)) for number in range(1000)))
    assert len(await store.rows(None, None, 5000)) == 1000


async def test_F132_the_open_rows_of_a_dead_process_become_ambiguous_once(tmp_path):
    """What they are booked at was written with them; those of a living process stay open."""
    path = tmp_path / "ledger.db"
    program = (
        "import asyncio, os, sys, signal\n"
        "from pathlib import Path\n"
        "from core.llm.common.types import Usage\n"
        "from core.llm.state.sqlite import SqliteStore\n"
        "from tests.unit.state.test_sqlite import row\n"
        "async def main():\n"
        "    store = SqliteStore(Path(sys.argv[1]))\n"
        "    await store.open()\n"
        "    await store.begin(row(1, usage=Usage(7, estimated=True), nanos=70))\n"
        "    done = row(2)\n"
        "    await store.begin(done)\n"
        "    done.book('settled', Usage(3), None)\n"
        "    store.settle(done)\n"
        "    await store.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    here = SqliteStore(path)
    await here.open()
    await here.begin(row(3))
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == -9
    after = SqliteStore(path)
    assert await after.open() == 1
    again = SqliteStore(path)
    assert await again.open() == 0
    found = {one.attempt_id: one for one in await again.rows(None, None, 10)}
    assert {name: one.state for name, one in found.items()} == {"c-1": "ambiguous", "c-2": "settled", "c-3": "open"}
    assert (found["c-1"].usage.input, found["c-1"].nanos, found["c-1"].error) == (7, 70, "process_died")
    for one in (here, after, again):
        await one.close()


async def test_a_damaged_file_is_put_aside_and_a_new_one_begun(tmp_path, caplog):
    """F159: the service starts, the old file is kept."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"SQLite format 3\0" + b"rubbish" * 5000)
    store = SqliteStore(path)
    await store.open()
    await store.begin(row())
    await store.close()
    assert on_disk(path) == [("c-1", "open")]
    (aside,) = tmp_path.glob("ledger.damaged-*")
    assert aside.read_bytes().endswith(b"rubbish")


async def test_another_process_that_holds_the_lock_delays_rows_and_nothing_else(store, tmp_path):
    """F158: the event loop runs on, and the row is written once the lock is free."""
    other = sqlite3.connect(tmp_path / "deep" / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    written = asyncio.ensure_future(store.begin(row()))
    turns = 0
    for _ in range(20):
        await asyncio.sleep(0.005)
        turns += 1
    assert not written.done()
    other.execute("COMMIT")
    await asyncio.wait_for(written, 30)
    other.close()
    assert turns == 20


async def test_a_disk_that_takes_nothing_holds_no_call_up(store, tmp_path, monkeypatch):
    """F157, lenient: calls go on, the rows wait, and are written when the disk is back."""
    monkeypatch.setattr("core.llm.state.sqlite.RETRY", 0.02)
    real = SqliteStore._committed
    full = True

    def failing(self, batch):
        if full:
            self._failing = True
            return None
        return real(self, batch)

    monkeypatch.setattr(SqliteStore, "_committed", failing)
    for number in range(1, 6):
        await asyncio.wait_for(store.begin(row(number)), 30)
    full = False
    await store.close()
    assert len(on_disk(tmp_path / "deep" / "ledger.db")) == 5


async def test_the_file_is_for_its_owner_only(store, tmp_path):
    assert (tmp_path / "deep" / "ledger.db").stat().st_mode & 0o077 == 0
    assert (tmp_path / "deep").stat().st_mode & 0o077 == 0


async def test_a_file_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="newer version"):
        await SqliteStore(path).open()


def test_a_process_is_told_apart_from_a_later_one_with_its_number():
    me = this_process()
    assert is_alive(me)
    assert not is_alive(me + "9")
    assert not is_alive("rubbish")
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert not is_alive(f"{int(ended.stdout)}:1")


def test_amounts_are_rounded_to_the_billionth_and_not_before():
    assert to_nanos(Decimal("0.0000000005")) == 1
    assert to_nanos(Decimal("123.456")) == 123_456_000_000
