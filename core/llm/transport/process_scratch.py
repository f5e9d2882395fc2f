"""A private directory for each worker: its current directory, its place for temporary files and sockets.

The host holds a lock on it. A host that was killed cannot remove it, but its lock is gone, so the next one does; and
ends the worker, whose name is in it, if that one could not notice the end of its host because it was stopped.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from core.llm.common.process_identity import is_alive, name_of

_WORKER: Final = ".worker"


class ScratchDirectory:
    """A directory that nobody else can enter; exists until `remove`."""

    __slots__ = ("_lock", "path")

    def __init__(self) -> None:
        with _locked(_root()) as root:
            _sweep(root)
            self.path = Path(tempfile.mkdtemp(dir=root))
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def belongs_to(self, pid: int) -> None:
        """Write down which process works here."""
        (self.path / _WORKER).write_text(name_of(pid))

    def remove(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _root() -> Path:
    """The directory for all hosts of this user; another one where somebody else has taken its name."""
    root = Path(tempfile.gettempdir()) / f"core-llm-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        root.mkdir(mode=0o700)
    found = root.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return root
    return Path(tempfile.mkdtemp(prefix="core-llm-"))


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[Path]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(descriptor)


def _sweep(root: Path) -> None:
    """Remove the directories of hosts that are gone."""
    for entry in root.iterdir():
        with contextlib.suppress(OSError):  # somebody is using it, or has just removed it
            descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _end_orphan(entry)
                shutil.rmtree(entry, ignore_errors=True)
            finally:
                os.close(descriptor)


def _end_orphan(directory: Path) -> None:
    """Kill the worker of a host that is gone, with all that it has started, if it is that very process."""
    with contextlib.suppress(OSError, ValueError):  # it never began to work, or has just ended
        name = (directory / _WORKER).read_text(encoding="ascii")
        number, _, started = name.partition(":")
        pid = int(number)
        # Without a start time the number may be that of anybody.
        if started and is_alive(name) and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
