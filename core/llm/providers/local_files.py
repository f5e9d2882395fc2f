"""Which files of this machine may be loaded as models, and that what is loaded is what was checked.

A configured path is followed to its end, links included, before it is judged. What was judged is remembered as a
`FileState`, and whoever opens the file compares, so that a file or link that is swapped in between is not loaded.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

_PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
"""What torch writes by default: reading such a file runs whatever its author put into it."""
_SAFE: Final = ".safetensors"
_DESCRIPTORS: Final = Path("/proc/self/fd")


class ModelFileError(Exception):
    """The path names nothing that can be loaded; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells one content of a path from another, without reading it."""

    device: int
    inode: int
    size: int
    modified_ns: int

    def to_json(self) -> list[int]:
        """For a worker, which compares it with what it opens."""
        return list(astuple(self))

    @staticmethod
    def from_json(value: Sequence[int]) -> "FileState":
        """The state that `to_json` wrote."""
        device, inode, size, modified_ns = value
        return FileState(device, inode, size, modified_ns)


@dataclass(frozen=True, slots=True)
class ModelRoots:
    """The directories that model files may come from; with none of them, any path that the configuration names."""

    models_dir: str | None = None
    """Where relative paths begin; one of the roots."""
    model_roots: tuple[str, ...] = ()

    def resolve(self, configured: str) -> Path:
        """The real path of *configured*, every link followed. It need not exist.

        Raises:
            ModelFileError: it leaves the roots.
        """
        if "\0" in configured:
            raise ModelFileError("the path holds a NUL character")
        roots = self.directories()
        if roots and configured.startswith("~"):
            raise ModelFileError("the path begins with `~`, which is not followed where roots are set: write it out")
        path = _real(roots[0] / configured if roots else Path(configured).expanduser())
        self.check(path)
        return path

    def check(self, path: Path) -> None:
        """Refuse *path*, which is resolved already, where it lies outside.

        Raises:
            ModelFileError: it does.
        """
        roots = self.directories()
        if roots and not any(path.is_relative_to(root) for root in roots):
            names = "model_roots" if self.model_roots else "models_dir"
            listed = ", ".join(map(str, roots))
            raise ModelFileError(f"the path leaves {names} ({listed}), links included; nothing outside of it is loaded")

    def directories(self) -> list[Path]:
        """The roots as real paths, the one where relative paths begin first."""
        named = (() if self.models_dir is None else (self.models_dir,)) + self.model_roots
        return [_real(Path(root).expanduser()) for root in named]


def file_state(path: Path) -> FileState:
    """The state of the file at *path*.

    Raises:
        ModelFileError: it is missing, is no regular file, or cannot be read.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise ModelFileError(f"there is no file {path}; check `path` (and `models_dir`)") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be used: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise ModelFileError(f"{path} is not a regular file")
    if not os.access(path, os.R_OK):
        raise ModelFileError(f"{path} may not be read by this process: check its permissions")
    return _state(found)


@contextmanager
def opened(path: Path, expected: FileState) -> Iterator[int]:
    """A descriptor of the file at *path*, which is resolved already; it is closed at the end of the block.

    Raises:
        ModelFileError: another file lies there by now, or the path leads elsewhere.
    """
    changed = f"{path} was replaced or changed after it had been checked; load it again"
    try:
        # A pipe that took the place of the file must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ModelFileError(f"{changed} ({error.strerror})") from None
    try:
        if _state(os.fstat(descriptor)) != expected or not _lies_at(descriptor, path):
            raise ModelFileError(changed)
        yield descriptor
    finally:
        os.close(descriptor)


def path_of(descriptor: int, path: Path) -> str:
    """A path that means the open file whatever becomes of *path*; *path* itself where the system has none."""
    own = _DESCRIPTORS / str(descriptor)
    return str(own if own.exists() else path)


def check_sha256(path: Path, expected: FileState, digest: str) -> None:
    """Compare the content of the file with *digest*, 64 hexadecimal digits. Reads all of it.

    Raises:
        ModelFileError: it is another content, or changed meanwhile.
    """
    with opened(path, expected) as descriptor, open(descriptor, "rb", closefd=False) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest.lower():
        raise ModelFileError(f"{path} does not have the configured sha256: it is another file, or a damaged one")


def weight_files(directory: Path, roots: ModelRoots, *, allow_pickle: bool = False) -> Mapping[Path, FileState]:
    """The weights in *directory*: its safetensors files, each where its links lead.

    With *allow_pickle* those that may hold pickles where there are no others; whoever reads them passes
    `weights_only=True`.

    Raises:
        ModelFileError: there are none that may be loaded, or one lies outside of the roots.
    """
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise ModelFileError(f"{directory} cannot be listed: {error.strerror}; it has to be a directory") from None
    safe = [entry for entry in entries if entry.suffix.lower() == _SAFE]
    pickles = [entry for entry in entries if entry.suffix.lower() in _PICKLES]
    if not safe and pickles and not allow_pickle:
        raise ModelFileError(f"{directory} holds no .safetensors file; {pickle_refusal(pickles[0])}")
    chosen = safe or pickles
    if not chosen:
        raise ModelFileError(f"{directory} holds no .safetensors file")
    found = {}
    for entry in chosen:
        path = _real(entry)
        roots.check(path)
        found[path] = file_state(path)
    return found


def refusal_of(path: Path, wanted: str = ".safetensors") -> str:
    """Why the file *path*, which is no *wanted* file, is not loaded."""
    return f"{path.name!r} is not a {wanted} file" + (pickle_refusal(path) and f"; {pickle_refusal(path)}")


def pickle_refusal(path: Path) -> str:
    """Why a file of the kind of *path* is not loaded; empty where its kind cannot hold code."""
    if path.suffix.lower() not in _PICKLES:
        return ""
    return (
        f"{path.name} may hold a pickle, which can run any code when it is read: convert it to safetensors or GGUF, or "
        "set allow_pickle where there is such an option and you trust its author"
    )


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: before Python 3.13, links that lead in a circle
        raise ModelFileError(f"{path} cannot be followed to its end: check its links") from None


def _lies_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at *path*, no directory of which has become a link meanwhile."""
    try:
        return (_DESCRIPTORS / str(descriptor)).readlink() == path
    except OSError:  # a system without /proc: what is at the end of the path was compared
        return True


def _state(found: os.stat_result) -> FileState:
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
