"""The files a configuration comes from: read once, remembered, compared.

A `SourceReader` reads every file of one load exactly once and knows afterwards what was read, what was looked for and
not found, and whether anything moved while it was reading.
"""

import hashlib
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_FILE_BYTES: Final = 2**20
"""A configuration file larger than this is a mistake."""

FileMark = tuple[str, int, int, int, int]


class TooLarge(ValueError):
    """A file is larger than it may be, or no regular file."""


def user_path(text: str) -> Path:
    """The path that *text* means: `~` is somebody's home, where there is one."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def file_mark(path: Path) -> FileMark | None:
    """What changes when *path* is written, replaced, or made to point elsewhere; None where there is no such file."""
    try:
        real = path.resolve()
        status = real.stat()
    except (OSError, RuntimeError, ValueError):
        return None
    return (str(real), status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


@dataclass(frozen=True, slots=True)
class WatchSet:
    """What to look at in order to notice a change, files that do not exist yet included."""

    files: tuple[Path, ...] = ()
    patterns: tuple[tuple[Path, str], ...] = ()
    """Folders with the glob pattern of an include."""

    def mark(self) -> tuple[object, ...]:
        """Equal as long as nothing has changed, as far as `stat` can tell."""
        matches = tuple(tuple(sorted(str(path) for path in folder.glob(glob))) for folder, glob in self.patterns)
        return (*(file_mark(path) for path in self.files), *matches)

    def digest(self) -> str:
        """The hash that a `SourceReader` that read all of this now would have."""
        reader = SourceReader()
        for path in self.files:
            try:
                reader.read(path)
            except (OSError, TooLarge):
                continue
        for folder, pattern in self.patterns:
            reader.glob(folder, pattern)
        return reader.digest()

    def union(self, other: "WatchSet") -> "WatchSet":
        """Everything in either."""
        return WatchSet(
            tuple(dict.fromkeys((*self.files, *other.files))), tuple(dict.fromkeys((*self.patterns, *other.patterns)))
        )

    def folders(self) -> frozenset[Path]:
        """The nearest existing folder of everything watched, and of what symbolic links lead to."""
        found = set()
        for path in (*self.files, *(folder / "*" for folder, _ in self.patterns)):
            found.add(_existing(path.absolute().parent))
            if path.is_symlink():
                found.add(_existing(path.resolve().parent))
        return frozenset(found)


def _existing(folder: Path) -> Path:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


class SourceReader:
    """Reads the files of one load."""

    def __init__(self) -> None:
        self.contents: dict[Path, bytes | None] = {}
        """Everything that was asked for; None where there was no such file."""
        self._secret: set[Path] = set()
        self._unreadable: dict[Path, OSError | TooLarge] = {}
        self._marks: dict[Path, FileMark | None] = {}
        self._patterns: dict[tuple[Path, str], tuple[Path, ...]] = {}

    @property
    def texts(self) -> dict[Path, bytes | None]:
        """Everything that was read, without the files that are secrets."""
        return {path: data for path, data in self.contents.items() if path not in self._secret}

    @property
    def secrets(self) -> frozenset[Path]:
        """The files of secrets that hold something."""
        return frozenset(self._secret - self.missed(self._secret))

    def missed(self, files: Iterable[Path]) -> frozenset[Path]:
        """Those of *files* that this load looked for, and found missing or empty."""
        return frozenset(path for path in files if self._wanted(path) and not (self.contents.get(path) or b"").strip())

    def _wanted(self, path: Path) -> bool:
        globs = self._patterns
        return path in self.contents or any(path.parent == folder and path.match(name) for folder, name in globs)

    def read(self, path: Path, limit: int = MAX_FILE_BYTES, *, secret: bool = False) -> bytes | None:
        """The bytes of *path*, or None where it does not exist.

        Raises:
            TooLarge: more than *limit* bytes, or a pipe or device.
            OSError: it exists and cannot be read.
        """
        if secret:
            self._secret.add(path)
        if path in self._unreadable:
            raise self._unreadable[path]
        if path in self.contents:
            return self.contents[path]
        self.contents[path] = None
        try:
            self.contents[path] = self._bytes(path, limit)
        except (OSError, TooLarge) as error:
            # Whoever asks again is told the same, not that there is no such file.
            self._unreadable[path] = error
            raise
        return self.contents[path]

    def _bytes(self, path: Path, limit: int) -> bytes | None:
        self._marks[path] = file_mark(path)
        if "\0" in str(path):
            return None
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise TooLarge("is not a regular file")
            if status.st_size > limit:
                raise TooLarge(f"is larger than {limit} bytes")
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if len(data) > limit:
            raise TooLarge(f"is larger than {limit} bytes")
        return data

    def glob(self, folder: Path, pattern: str) -> tuple[Path, ...]:
        """The files below *folder* that match, sorted; the pattern is watched."""
        matches = tuple(sorted(path for path in folder.glob(pattern) if path.is_file()))
        self._patterns[folder, pattern] = matches
        return matches

    @property
    def moved(self) -> bool:
        """True where a file has changed since it was read: what was read together may not belong together."""
        return any(file_mark(path) != mark for path, mark in self._marks.items())

    @property
    def watch_set(self) -> WatchSet:
        """Everything that was read or looked for."""
        return WatchSet(tuple(self.contents), tuple(self._patterns))

    def digest(self) -> str:
        """A hash of every byte that was read and of every file that was missing."""
        return _digest(self.contents, self._patterns)


def _digest(contents: Mapping[Path, bytes | None], patterns: Mapping[tuple[Path, str], tuple[Path, ...]]) -> str:
    whole = hashlib.sha256()
    for path, data in sorted(contents.items()):
        part = b"-" if data is None else hashlib.sha256(data).digest()
        whole.update(f"{path}\0".encode("utf-8", "surrogateescape") + part)
    for (folder, pattern), matches in sorted(patterns.items()):
        whole.update(f"{folder}\0{pattern}\0{matches}".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()
