"""What the writer of an SQLite file does, one transaction at a time."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from core.llm.common.log import log
from core.llm.state.sqlite_rows import execute

Work = Callable[[sqlite3.Connection], Any]
Job = tuple[str | Work, tuple[Any, ...], asyncio.Future[Any] | None]
"""A statement with its values, or what else is done in the transaction; and who waits for it."""
_OF_THE_JOB: Final = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
)
"""Errors of a single statement; all others say that the file cannot be written."""


def commit(connection: sqlite3.Connection, batch: Sequence[Job]) -> list[Any]:
    """Do all of *batch* in one transaction; returns what came of each job: for one that cannot be done, its error.

    Raises:
        sqlite3.Error: the file cannot be written; nothing was done.
    """
    results: list[Any] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        for job in batch:
            try:
                results.append(_done(connection, job))
            except sqlite3.Error as error:
                if not isinstance(error, _OF_THE_JOB):
                    raise
                results.append(error)
            except Exception as error:  # noqa: BLE001 - one job must not take the writer with it
                results.append(error)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    for one in results:
        if isinstance(one, Exception):
            log("ERROR", "the ledger could not write one of its rows: {}", type(one).__name__)
    return results


def _done(connection: sqlite3.Connection, job: Job) -> Any:
    work, values, _ = job
    if callable(work):
        return work(connection)
    if work:
        execute(connection, work, values)
    return None


def is_verdict(job: Job) -> bool:
    """Whether somebody waits for what comes out of *job*, not only for it to be done."""
    return callable(job[0]) and job[2] is not None


def answer(loop: asyncio.AbstractEventLoop | None, results: Sequence[tuple[asyncio.Future[Any] | None, Any]]) -> None:
    """Tell who waits what came of it, from another thread."""
    waiting = [(waiter, result) for waiter, result in results if waiter is not None]
    if waiting and loop is not None and not loop.is_closed():
        loop.call_soon_threadsafe(_resolve, waiting)


def _resolve(waiting: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for waiter, result in waiting:
        if not waiter.done():
            if isinstance(result, BaseException):
                waiter.set_exception(result)
            else:
                waiter.set_result(result)
