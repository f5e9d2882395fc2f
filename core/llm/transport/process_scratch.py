"""An empty private directory for each worker: its current directory, its place for temporary files and sockets.

The host holds a lock on it. A host that was killed cannot remove it, but its lock is gone, so the next one does.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


class ScratchDirectory:
    """A directory that nobody else can enter; exists until `remove`."""

    __slots__ = ("_lock", "path")

    def __init__(self) -> None:
        with _locked(_root()) as root:
            _sweep(root)
            self.path = Path(tempfile.mkdtemp(dir=root))
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

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
                shutil.rmtree(entry, ignore_errors=True)
            finally:
                os.close(descriptor)
