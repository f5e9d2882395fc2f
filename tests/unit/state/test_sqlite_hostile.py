"""What a ledger in a file goes through: values that no file can hold, and files that somebody takes away."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from loguru import logger

from core.llm.common.exceptions import BudgetExceeded
from core.llm.common.types import Cost, Usage
from core.llm.state.holds import Claim, Hold, Scope
from core.llm.state.rows import AttemptRow
from core.llm.state.sqlite import SqliteStore

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = Claim(Scope(), NOW - timedelta(hours=12), NOW + timedelta(hours=12), 10**9)
LONE = "ann\ud800"
"""Half of a surrogate pair, which JSON may carry and no UTF-8 can."""


def row(number: int, user: str | None = None) -> AttemptRow:
    """An attempt that has just begun."""
    return AttemptRow(f"a-{number}", "c", number, "alpha", "m", NOW, user=user)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store with budgets."""
    opened = SqliteStore(tmp_path / "state" / "ledger.db")
    await opened.open()
    await opened.open_budgets()
    yield opened
    await opened.close()


async def test_f50_an_absurd_amount_is_booked_as_much_and_stops_nothing(store: SqliteStore) -> None:
    """A provider that reports 10^25 tokens must not end the thread that writes for all others."""
    for number in (1, 2):
        one = row(number)
        await asyncio.wait_for(store.begin(one), 30)
        one.book("settled", Usage(10**25), Cost(Decimal(10) ** 20, "USD"))
        store.settle(one)
    last = row(3)
    await asyncio.wait_for(store.begin(last), 30)
    last.book("settled", Usage(7), Cost(Decimal("0.5"), "USD"))
    store.settle(last)
    found = {one.number: one for one in await store.rows("c", None, 10)}
    assert (found[3].usage.input, found[3].amount) == (7, Decimal("0.5"))
    assert found[1].state == "settled"
    assert found[1].nanos is not None
    assert found[1].nanos >= 10**15
    (total,) = await store.totals(None)
    assert (total.attempts, total.nanos) == (3, 2 * found[1].nanos + 5 * 10**8)


async def test_a_user_whose_name_is_no_text_is_counted_like_any_other(store: SqliteStore) -> None:
    """The name of a user comes from a request, so anybody may choose it."""
    claim = Claim(Scope(user=LONE), DAY.start, DAY.stop, 10**9)
    one = row(1, LONE)
    verdict = await asyncio.wait_for(
        store.reserve(Hold("a-1", Scope("alpha", "m", "", LONE), NOW, 6 * 10**8), [claim], "USD"), 10
    )
    assert not verdict.refused
    await asyncio.wait_for(store.begin(one), 30)
    one.book("settled", Usage(1), Cost(Decimal("0.6"), "USD"))
    store.settle(one)
    again = await store.reserve(Hold("a-2", Scope("alpha", "m", "", LONE), NOW, 6 * 10**8), [claim], "USD")
    assert again.refused
    assert again.standings[0].spent == 6 * 10**8


@pytest.mark.parametrize("name", ["x' OR '1'='1", "x'; DROP TABLE attempts; --", 'x") OR 1=1 --', "%", "_"])
async def test_what_a_caller_writes_is_never_read_as_sql(store: SqliteStore, name: str) -> None:
    """Users, models and aliases are chosen by callers: each finds its own rows and amounts, and nobody else's."""
    for number, user in ((1, "ann"), (2, name)):
        one = AttemptRow(f"a-{number}", f"c-{user}", number, "alpha", user, NOW, user=user, alias=user)
        await asyncio.wait_for(store.begin(one), 30)
        one.book("settled", Usage(1), Cost(Decimal(number), "USD"))
        store.settle(one)
    own = Claim(Scope("alpha", name, name, name), DAY.start, DAY.stop, 10**10)
    (standing,) = await store.standings([own], "USD")
    assert standing.spent == 2 * 10**9
    verdict = await store.reserve(Hold("a-3", own.scope, NOW, 10**9), [own], "USD")
    assert verdict.standings[0].spent == 2 * 10**9
    assert [row.user for row in await store.rows(f"c-{name}", None, 10)] == [name]
    assert [row.user for row in await store.rows(name, None, 10)] == []
    assert {total.model: total.attempts for total in await store.totals(None)} == {"ann": 1, name: 1}


async def test_what_cannot_be_held_is_refused_and_the_next_one_is_served(store: SqliteStore) -> None:
    """A hold too large for a number of the file is no reason to hang, for this call or for another."""
    huge = Hold("a-1", Scope("alpha", "m"), NOW, 10**22)
    with pytest.raises(BudgetExceeded):
        await asyncio.wait_for(store.reserve(huge, [DAY._replace(limit=10**23)], "USD"), 30)
    verdict = await asyncio.wait_for(store.reserve(huge._replace(nanos=1), [DAY], "USD"), 30)
    assert not verdict.refused


@pytest.mark.parametrize("whole_folder", [True, False])
async def test_a_file_that_is_removed_while_in_use_is_begun_anew_and_said(
    store: SqliteStore, tmp_path: Path, whole_folder: bool
) -> None:
    """Rows must not go on into a file that nobody can find any more."""
    lines: list[str] = []
    sink = logger.add(lines.append)
    await store.begin(row(1))
    path = tmp_path / "state" / "ledger.db"
    if whole_folder:
        shutil.rmtree(path.parent)
    else:
        for tail in ("", "-wal", "-shm"):
            Path(f"{path}{tail}").unlink(missing_ok=True)
    two = row(2)
    await asyncio.wait_for(store.begin(two), 30)
    two.book("settled", Usage(5), Cost(Decimal("0.25"), "USD"))
    store.settle(two)
    (standing,) = await store.standings([DAY], "USD")
    assert standing.spent == 25 * 10**7
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT attempt_id, state FROM attempts").fetchall() == [("a-2", "settled")]
    logger.remove(sink)
    assert any("was removed while in use" in line for line in lines)
    assert path.stat().st_mode & 0o077 == 0


FULL_DISK = """
import asyncio, resource, sqlite3, sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from core.llm.common.exceptions import BudgetExceeded
from core.llm.common.types import Cost, Usage
from core.llm.state import sqlite
from core.llm.state.holds import Claim, Hold, Scope
from core.llm.state.rows import AttemptRow

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CLAIM = Claim(Scope(), NOW - timedelta(1), NOW + timedelta(1), 10**12)

async def attempt(store, number):
    await asyncio.wait_for(store.reserve(Hold(f"a-{number}", Scope("p", "m"), NOW, 10**9), [CLAIM], "USD"), 30)
    row = AttemptRow(f"a-{number}", "c", number, "p", "m", NOW)
    await asyncio.wait_for(store.begin(row), 30)
    row.book("settled", Usage(1), Cost(Decimal("0.5"), "USD"))
    store.settle(row)

async def main():
    sqlite.RETRY = 0.05
    store = sqlite.SqliteStore(Path(sys.argv[1]))
    await store.open()
    await store.open_budgets()
    await attempt(store, 1)
    await store.flush()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    for number in range(2, 6):
        try:
            await attempt(store, number)
        except BudgetExceeded:
            continue
        raise AssertionError("sent without a reservation")
    unlimited = AttemptRow("free", "c", 9, "p", "m", NOW)
    await asyncio.wait_for(store.begin(unlimited), 30)
    unlimited.book("settled", Usage(1), Cost(Decimal("0.25"), "USD"))
    store.settle(unlimited)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await asyncio.wait_for(store.flush(), 30)
    await attempt(store, 10)
    (standing,) = await store.standings([CLAIM], "USD")
    assert standing == (125 * 10**7, 0), standing
    await store.close()
    with sqlite3.connect(sys.argv[1]) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

asyncio.run(main())
"""


def test_f157_a_disk_that_is_full_refuses_what_budgets_cover_and_loses_nothing(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow for a while: it goes on without a restart."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "ledger.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be written") == 1
    assert "can be written again" in done.stderr
