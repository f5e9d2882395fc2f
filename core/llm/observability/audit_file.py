"""The file of the audit log: sealed lines, which several processes may append to, on a disk that may be full.

Each line is written under a lock, after a look at what has become of the file since the last one: lines of another
process are followed, a file that was moved away is begun anew, and one that was cut or changed is put aside.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from core.llm.common.files import free_name, identity
from core.llm.common.log import log
from core.llm.observability.audit_chain import GENESIS, AuditCheck, check, sealed

_CHUNK: Final = 65_536


class AuditFile:
    """One process's hold on the file. Used by one thread."""

    def __init__(self, path: Path, key: bytes | None, now: Callable[[], datetime]) -> None:
        self._path = path
        self._key = key
        self._now = now
        self._fd = -1
        self._size = 0
        """Up to where the chain has been followed."""
        self._last = GENESIS
        self._complained = False

    def open(self) -> None:
        """Follow the chain to its end; a file that is not genuine is put aside, and a new one is begun.

        Raises:
            OSError: the file can neither be read nor made.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._size, self._last = 0, GENESIS
        with self._locked():
            problem = self._follow()
        if problem is not None:
            self._put_aside(f"is not genuine: {problem}")

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def append(self, record: Mapping[str, Any]) -> bool:
        """Write *record* as the next line; `False` where the disk does not take it, which may be tried again."""
        try:
            self._find()
            with self._locked():
                # It may have been moved away while the lock was waited for.
                current = self._is_current()
                problem = self._follow() if current else None
                if current and problem is None:
                    self._write(record)
            if not current:
                return self.append(record)
            if problem is not None:
                self._put_aside(f"was changed while it was being written: {problem}")
                return self.append(record)
        except OSError as error:
            if not self._complained:
                log("ERROR", "the audit log {} cannot be written: {}", self._path, error.strerror)
            self._complained = True
            return False
        if self._complained:
            log("WARNING", "the audit log {} can be written again", self._path)
        self._complained = False
        return True

    def _find(self) -> None:
        """Begin a new file where the one in hand has been moved away, as a rotation does."""
        if self._is_current():
            return
        if self._fd >= 0:
            # Others may have written to it since we did: the new file follows the last line of them all.
            with self._locked():
                self._follow()
        before = self._last
        self.close()
        self.open()
        if self._size == 0 and before != GENESIS:
            self._continue(before)

    def _is_current(self) -> bool:
        return self._fd >= 0 and identity(self._path) == identity(self._fd)

    def _continue(self, before: str) -> None:
        """Say which line of another file the first one of this file follows."""
        with self._locked():
            if self._follow() is None and self._size == 0:
                self._write({"time": self._now().isoformat(), "kind": "continued", "after": before})

    def _put_aside(self, reason: str) -> None:
        before = self._last
        with self._locked():
            # Another process that has found the same has perhaps done it already.
            if self._is_current():
                aside = free_name(self._path)
                self._path.replace(aside)
                log("ERROR", "the audit log {} {}. It was put aside as {}", self._path, reason, aside)
        self.close()
        self.open()
        if before != GENESIS:
            self._continue(before)

    def _follow(self) -> str | None:
        """Follow what stands behind the known end of the chain; returns what is wrong with it."""
        size = os.fstat(self._fd).st_size
        if size == self._size:
            return None
        if size < self._size:
            return "lines at its end are missing"
        kept = self._without_half_a_line(size)
        with os.fdopen(os.dup(self._fd), encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.seek(self._size)
            found = check(file, self._key, self._last)
        if found.problem is None:
            self._size, self._last = kept, found.last
        return found.problem

    def _without_half_a_line(self, size: int) -> int:
        """Remove what a process that was killed has left: it was never sealed. Who has the lock writes alone."""
        kept = size
        while kept > self._size:
            start = max(self._size, kept - _CHUNK)
            os.lseek(self._fd, start, os.SEEK_SET)
            end = os.read(self._fd, kept - start).rfind(b"\n")
            kept = start + end + 1
            if end >= 0:
                break
        if kept < size:
            os.ftruncate(self._fd, kept)
            log("WARNING", "the audit log {} ended in half a line, which was removed", self._path)
        return kept

    def _write(self, record: Mapping[str, Any]) -> None:
        line, digest = sealed(record, self._last, self._key)
        data = f"{line}\n".encode()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            # What of it has arrived would be half a line.
            os.ftruncate(self._fd, self._size)
            raise
        self._size, self._last = self._size + len(data), digest

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        _lock(self._fd)
        try:
            yield
        finally:
            _unlock(self._fd)


def verify_file(path: Path, key: bytes | None) -> AuditCheck:
    """Check the whole file at *path*, line by line."""
    with path.open(encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        return check(file, key)


if sys.platform == "win32":

    def _lock(_: int) -> None:
        """Appending is all that is known to be safe here: one process per file."""

    def _unlock(_: int) -> None:
        """Nothing was locked."""

else:
    import fcntl

    def _lock(fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except OSError as error:
            # A file system without locks: one process per file, as where there are none at all.
            if error.errno not in _NO_LOCKS:
                raise

    def _unlock(fd: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)


_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
