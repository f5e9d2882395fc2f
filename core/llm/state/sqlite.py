"""Rows in an SQLite file: what was acknowledged survives `kill -9`.

One thread writes. It commits whatever came together during the commit before as one transaction, and only then says
so; the event loop never waits for a disk.
"""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from core.llm.common.exceptions import BudgetExceeded, ConfigError, ConfigIssue
from core.llm.common.log import log
from core.llm.common.process_identity import is_alive, this_process
from core.llm.common.types import Usage
from core.llm.state import sqlite_budgets
from core.llm.state.holds import Claim, Hold, Standing, Verdict
from core.llm.state.rows import AttemptRow, RowState, UsageTotal

SCHEMA: Final = 2
BATCH: Final = 200
"""Rows of one transaction, at most."""
RETRY: Final = 1.0
"""Seconds until a disk that did not take the rows is tried again."""
BUSY: Final = 5.0
"""Seconds to wait for another process that is writing."""
WAITING: Final = 100_000
"""Rows that may wait for a disk that does not take them; further ones are lost, and the log says so."""

_TABLE: Final = """
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
_COLUMNS: Final = (
    "attempt_id, call_id, number, provider, model, started, role, user, key_id, state, input, cache_read, cache_write,"
    " output, reasoning, estimated, nanos, currency, price_source, error, duration, owner, alias"
)
_BEGIN: Final = f"INSERT OR IGNORE INTO attempts ({_COLUMNS}) VALUES ({', '.join('?' * 23)})"  # noqa: S608 - constants
# A row is closed once: what is no longer open is not booked a second time.
_SETTLE: Final = (
    "UPDATE attempts SET state = ?, input = ?, cache_read = ?, cache_write = ?, output = ?, reasoning = ?,"
    " estimated = ?, nanos = ?, currency = ?, price_source = ?, error = ?, duration = ?, key_id = ?"
    " WHERE attempt_id = ? AND state = 'open'"
)
_Work = Callable[[sqlite3.Connection], Any]
_Job = tuple[str | _Work, tuple[Any, ...], asyncio.Future[Any] | None]
"""A statement with its values, or what else is done in the transaction; and who waits for it."""


class SqliteStore:
    """Rows in one file, which several processes may share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = this_process()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost = 0
        self._failing = False
        self._locked = False
        """Whether it fails because another process writes for long, which ends by itself."""
        self._results: list[Any] = []

    async def open(self) -> int:
        """Open or create the file, and close the rows of processes that have died as `ambiguous`.

        A file that is damaged is put aside under another name, and a new one is begun.

        Raises:
            ConfigError: the file cannot be opened or made.
        """
        self._loop = asyncio.get_running_loop()
        try:
            orphans = await asyncio.to_thread(self._prepare)
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            text = f"the ledger {self._path} cannot be opened: {reason}. Check `path` and the rights of its folder"
            raise ConfigError([ConfigIssue(text, "state.path")]) from None
        self._thread = threading.Thread(target=self._write, name="core-llm-ledger", daemon=True)
        self._thread.start()
        return orphans

    async def close(self) -> None:
        """Commit what is waiting, then end the writer."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join, 2 * BUSY)

    def begin(self, row: AttemptRow) -> "asyncio.Future[None]":
        """Queue the row; the future is done once it is committed."""
        loop = self._loop or asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        if self._thread is not None:
            self._put((_BEGIN, self._values(row), None if self._failing else written))
        if self._thread is None or self._failing:
            written.set_result(None)
        return written

    def settle(self, row: AttemptRow) -> None:
        """Queue the end of the row."""
        usage = row.usage
        closing_values = (
            row.state, usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning,
            usage.estimated, row.nanos, row.currency, row.price_source, row.error, row.duration, row.key_id,
            row.attempt_id,
        )  # fmt: skip
        if self._thread is not None:
            self._put((_SETTLE, closing_values, None))

    async def open_budgets(self) -> None:
        """Get ready for reservations; what was spent before is in the attempts.

        Raises:
            ConfigError: the file cannot be written.
        """

        def prepare() -> None:
            with closing(self._connect()) as connection:
                connection.executescript(f"BEGIN IMMEDIATE; {sqlite_budgets.TABLES} COMMIT;")

        try:
            await asyncio.to_thread(prepare)
        except sqlite3.Error as error:
            text = f"the budgets cannot be kept in the ledger {self._path}: {error}. Check `path` and its disk"
            raise ConfigError([ConfigIssue(text, "state.path")]) from None

    def reserve(self, hold: Hold, claims: Sequence[Claim], currency: str) -> "asyncio.Future[Verdict]":
        """Take *hold* out of all *claims* or none; the future is done once that is committed.

        Its exception is a `BudgetExceeded` where the file cannot be written.
        """
        loop = self._loop or asyncio.get_running_loop()
        decided: asyncio.Future[Verdict] = loop.create_future()
        if self._thread is None or (self._failing and not self._locked) or self._jobs.qsize() >= WAITING:
            decided.set_exception(self._no_verdict())
        else:
            owner = self._owner
            self._jobs.put((lambda it: sqlite_budgets.reserve(it, hold, claims, currency, owner), (), decided))
        return decided

    def release(self, attempt_id: str) -> None:
        """Queue that nothing is held for an attempt any more."""
        if self._thread is not None:
            self._put((lambda connection: sqlite_budgets.release(connection, attempt_id), (), None))

    async def standings(self, claims: Sequence[Claim], currency: str) -> tuple[Standing, ...]:
        """How much of each of *claims* is gone, all processes together."""
        await self.flush()

        def read() -> tuple[Standing, ...]:
            with closing(self._connect()) as connection:
                return tuple([sqlite_budgets.standing_of(connection, claim, currency) for claim in claims])

        return await asyncio.to_thread(read)

    def _no_verdict(self) -> BudgetExceeded:
        return BudgetExceeded(
            f"the budgets cannot be looked at, because the ledger {self._path} cannot be written: nothing was sent. "
            "Make room on its disk, or free it"
        )

    async def rows(self, call_id: str | None, since: datetime | None, limit: int) -> tuple[AttemptRow, ...]:
        """Rows of all processes that share the file."""
        where, values = _condition(call_id, since)
        query = f"SELECT {_COLUMNS} FROM attempts {where} ORDER BY started DESC, number DESC LIMIT ?"  # noqa: S608 - constants
        found = await self._read(query, (*values, limit))
        return tuple(map(_row, found))

    async def totals(self, since: datetime | None) -> tuple[UsageTotal, ...]:
        """Sums over all processes that share the file."""
        where, values = _condition(None, since)
        query = (
            "SELECT provider, model, state, currency, count(*), sum(input), sum(cache_read), sum(cache_write),"  # noqa: S608 - constants
            f" sum(output), sum(reasoning), coalesce(sum(nanos), 0), sum(nanos IS NULL) FROM attempts {where}"
            " GROUP BY provider, model, state, currency ORDER BY provider, model, state"
        )
        return tuple(UsageTotal(*line) for line in await self._read(query, values) if line[2] != "open")

    async def flush(self) -> None:
        """Return once everything queued so far is committed."""
        if self._thread is not None and self._loop is not None:
            done: asyncio.Future[None] = self._loop.create_future()
            self._put(("", (), done))
            await done

    async def _read(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        await self.flush()

        def read() -> list[tuple[Any, ...]]:
            with closing(self._connect()) as connection:
                return connection.execute(query, values).fetchall()

        return await asyncio.to_thread(read)

    def _put(self, job: _Job) -> None:
        if self._jobs.qsize() >= WAITING:
            self._lost += 1
            if self._lost == 1:
                log("ERROR", "the ledger cannot write {}: {} rows wait, further ones are lost", self._path, WAITING)
            if job[2] is not None:
                job[2].set_result(None)
            return
        self._jobs.put(job)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _prepare(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._path.exists():
            # Rows tell who asked what when: readable for the owner only, from the first byte.
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        try:
            return self._take_over()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = _free_name(self._path)
            self._path.replace(aside)
            for tail in ("-wal", "-shm"):
                Path(f"{self._path}{tail}").unlink(missing_ok=True)
            log("ERROR", "the ledger {} is damaged: it was put aside as {}, and a new one begun", self._path, aside)
            return self._take_over()

    def _take_over(self) -> int:
        with closing(self._connect()) as connection:
            connection.executescript(_TABLE)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA:
                raise sqlite3.OperationalError(
                    f"{self._path} was written by a newer version of this library: use that one, or another file"
                )
            # What a process does that starts at the same time is waited for, and then found done.
            connection.execute("BEGIN IMMEDIATE")
            if "alias" not in {column for _, column, *_ in connection.execute("PRAGMA table_info(attempts)")}:
                connection.execute("ALTER TABLE attempts ADD COLUMN alias TEXT")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            owners = {
                owner for (owner,) in connection.execute("SELECT DISTINCT owner FROM attempts WHERE state='open'")
            }
            dead = [owner for owner in owners | sqlite_budgets.owners(connection) if not is_alive(owner)]
            sqlite_budgets.book_what_is_held(connection, dead)
            changed = 0
            for owner in dead:
                changed += connection.execute(
                    "UPDATE attempts SET state = 'ambiguous', estimated = 1, error = 'process_died'"
                    " WHERE state = 'open' AND owner = ?",
                    (owner,),
                ).rowcount
            connection.execute("COMMIT")
            return changed

    def _values(self, row: AttemptRow) -> tuple[Any, ...]:
        usage = row.usage
        return (
            row.attempt_id, row.call_id, row.number, row.provider, row.model, row.started.isoformat(), row.role,
            row.user, row.key_id, row.state, usage.input, usage.cache_read, usage.cache_write, usage.output,
            usage.reasoning, usage.estimated, row.nanos, row.currency, row.price_source, row.error, row.duration,
            self._owner, row.alias,
        )  # fmt: skip

    def _write(self) -> None:
        with closing(self._connect()) as connection:
            ending = False
            while not ending:
                batch, ending = self._gather()
                while not self._committed(connection, batch):
                    if ending:
                        log("ERROR", "{} rows never reached the ledger {}", len(batch), self._path)
                        return
                    # Calls go on: their rows wait here and are written as soon as the disk takes them. Who waits for a
                    # reservation is refused, unless it is only a matter of time.
                    if not self._locked:
                        self._answer([(job[2], self._no_verdict()) for job in batch if _is_verdict(job)])
                        batch = [job for job in batch if not _is_verdict(job)]
                    self._answer([(job[2], None) for job in batch if not _is_verdict(job)])
                    threading.Event().wait(RETRY)
                self._answer([(job[2], result) for job, result in zip(batch, self._results, strict=True)])

    def _committed(self, connection: sqlite3.Connection, batch: list[_Job]) -> bool:
        try:
            self._results = _commit(connection, batch)
        except sqlite3.Error as error:
            if not self._failing:
                log("ERROR", "the ledger {} cannot be written: {}", self._path, error)
            self._failing = True
            self._locked = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            return False
        if self._failing:
            log("WARNING", "the ledger {} can be written again", self._path)
        self._failing = False
        return True

    def _gather(self) -> tuple[list[_Job], bool]:
        """Whatever came together while the batch before was being committed, and whether it is the last."""
        job = self._jobs.get()
        batch: list[_Job] = []
        while job is not None:
            batch.append(job)
            if len(batch) == BATCH:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _answer(self, results: Sequence[tuple[asyncio.Future[Any] | None, Any]]) -> None:
        waiting = [(waiter, result) for waiter, result in results if waiter is not None]
        if waiting and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, waiting)


def _resolve(waiting: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for waiter, result in waiting:
        if not waiter.done():
            if isinstance(result, BaseException):
                waiter.set_exception(result)
            else:
                waiter.set_result(result)


def _is_verdict(job: _Job) -> bool:
    """Whether somebody waits for what comes out of *job*, not only for it to be done."""
    return callable(job[0]) and job[2] is not None


def _commit(connection: sqlite3.Connection, batch: list[_Job]) -> list[Any]:
    results: list[Any] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        for work, values, _ in batch:
            if callable(work):
                results.append(work(connection))
                continue
            if work:
                connection.execute(work, values)
            results.append(None)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def _free_name(path: Path) -> Path:
    """Where a damaged file is put: beside the new one, under the first number that is not taken."""
    number = 1
    while (aside := path.with_suffix(f".damaged-{number}")).exists():
        number += 1
    return aside


def _condition(call_id: str | None, since: datetime | None) -> tuple[str, tuple[Any, ...]]:
    if call_id is not None:
        return "WHERE call_id = ?", (call_id,)
    if since is not None:
        return "WHERE started >= ?", (since.astimezone(UTC).isoformat(),)
    return "", ()


def _row(line: tuple[Any, ...]) -> AttemptRow:
    usage = Usage(line[10], line[11], line[12], line[13], line[14], bool(line[15]))
    return AttemptRow(
        line[0], line[1], line[2], line[3], line[4], datetime.fromisoformat(line[5]), line[6], line[7], line[8],
        cast("RowState", line[9]), usage, line[16], line[17], line[18], line[19], line[20],
        alias=line[22], closed=line[9] != "open",
    )  # fmt: skip
