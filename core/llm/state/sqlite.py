"""Rows in an SQLite file: what was acknowledged survives `kill -9`.

One thread writes. It commits whatever came together during the commit before as one transaction, and only then says
so; the event loop never waits for a disk.
"""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from core.llm.common.exceptions import BudgetExceeded, ConfigError, ConfigIssue
from core.llm.common.files import free_name, identity
from core.llm.common.log import log
from core.llm.common.process_identity import is_alive, this_process
from core.llm.state import sqlite_budgets
from core.llm.state.holds import Claim, Hold, Standing, Verdict
from core.llm.state.rows import AttemptRow, UsageTotal
from core.llm.state.sqlite_jobs import Job, answer, commit, is_verdict
from core.llm.state.sqlite_rows import BEGIN, COLUMNS, SETTLE, TABLE, condition, end_of, row_of, values_of

SCHEMA: Final = 2
BATCH: Final = 200
"""Rows of one transaction, at most."""
RETRY: Final = 1.0
"""Seconds until a disk that did not take the rows is tried again."""
BUSY: Final = 5.0
"""Seconds to wait for another process that is writing."""
WAITING: Final = 100_000
"""Rows that may wait for a disk that does not take them; further ones are lost, and the log says so."""


class SqliteStore:
    """Rows in one file, which several processes may share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = this_process()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost = 0
        self._failing = False
        self._locked = False
        """Whether it fails because another process writes for long, which ends by itself."""
        self._connection: sqlite3.Connection | None = None
        """The writer's own."""
        self._file: tuple[int, int] | None = None
        """Which file that is, whatever becomes of its name."""
        self._budgeted = False

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
            self._put((BEGIN, values_of(row, self._owner), None if self._failing else written))
        if self._thread is None or self._failing:
            written.set_result(None)
        return written

    def settle(self, row: AttemptRow) -> None:
        """Queue the end of the row."""
        if self._thread is not None:
            self._put((SETTLE, end_of(row), None))

    async def open_budgets(self) -> None:
        """Get ready for reservations; what was spent before is in the attempts.

        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            await asyncio.to_thread(self._prepare_budgets)
        except sqlite3.Error as error:
            text = f"the budgets cannot be kept in the ledger {self._path}: {error}. Check `path` and its disk"
            raise ConfigError([ConfigIssue(text, "state.path")]) from None
        self._budgeted = True

    def _prepare_budgets(self) -> None:
        with closing(self._connect()) as connection:
            connection.executescript(f"BEGIN IMMEDIATE; {sqlite_budgets.TABLES} COMMIT;")

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
        where, values = condition(call_id, since)
        query = f"SELECT {COLUMNS} FROM attempts {where} ORDER BY started DESC, number DESC LIMIT ?"  # noqa: S608 - constants
        found = await self._read(query, (*values, limit))
        return tuple(map(row_of, found))

    async def totals(self, since: datetime | None) -> tuple[UsageTotal, ...]:
        """Sums over all processes that share the file."""
        where, values = condition(None, since)
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

    def _put(self, job: Job) -> None:
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
            aside = free_name(self._path)
            self._path.replace(aside)
            for tail in ("-wal", "-shm"):
                Path(f"{self._path}{tail}").unlink(missing_ok=True)
            log("ERROR", "the ledger {} is damaged: it was put aside as {}, and a new one begun", self._path, aside)
            return self._take_over()

    def _take_over(self) -> int:
        with closing(self._connect()) as connection:
            connection.executescript(TABLE)
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

    def _write(self) -> None:
        try:
            ending = False
            while not ending:
                batch, ending = self._gather()
                while (results := self._committed(batch)) is None:
                    if ending:
                        log("ERROR", "{} rows never reached the ledger {}", len(batch), self._path)
                        return
                    # Calls go on: their rows wait here and are written as soon as the disk takes them. Who waits for a
                    # reservation is refused, unless it is only a matter of time.
                    if not self._locked:
                        answer(self._loop, [(job[2], self._no_verdict()) for job in batch if is_verdict(job)])
                        batch = [job for job in batch if not is_verdict(job)]
                    answer(self._loop, [(job[2], None) for job in batch if not is_verdict(job)])
                    threading.Event().wait(RETRY)
                answer(self._loop, [(job[2], self._told(job, one)) for job, one in zip(batch, results, strict=True)])
        finally:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _told(self, job: Job, result: Any) -> Any:
        """What whoever waits for *job* learns: nothing that went wrong in the file, but that there is no verdict."""
        if not isinstance(result, Exception):
            return result
        return self._no_verdict() if is_verdict(job) else None

    def _committed(self, batch: list[Job]) -> list[Any] | None:
        try:
            results = commit(self._connected(), batch)
        except (sqlite3.Error, OSError) as error:
            if not self._failing:
                log("ERROR", "the ledger {} cannot be written: {}", self._path, error)
            self._failing = True
            self._locked = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            return None
        if self._failing:
            log("WARNING", "the ledger {} can be written again", self._path)
        self._failing = False
        return results

    def _connected(self) -> sqlite3.Connection:
        """The writer's connection; a new one where the file has been removed or replaced."""
        connection = self._connection
        if connection is not None and self._file == identity(self._path):
            return connection
        if connection is not None:
            log("ERROR", "the ledger {} was removed while in use: a new one is begun, which knows nothing", self._path)
            self._connection = None
            connection.close()
        if self._file is not None:
            self._prepare()
            if self._budgeted:
                self._prepare_budgets()
        self._connection = connection = self._connect()
        self._file = identity(self._path)
        return connection

    def _gather(self) -> tuple[list[Job], bool]:
        """Whatever came together while the batch before was being committed, and whether it is the last."""
        job = self._jobs.get()
        batch: list[Job] = []
        while job is not None:
            batch.append(job)
            if len(batch) == BATCH:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True
