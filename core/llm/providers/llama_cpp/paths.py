"""Which file a configured path means, and whether it may be loaded."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from core.llm.providers.llama_cpp import embedded
from core.llm.providers.llama_cpp.config import EMBEDDED


class ModelFileError(Exception):
    """The path names nothing that can be loaded; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells one content of a path from another, without reading it."""

    device: int
    inode: int
    size: int
    modified_ns: int


def resolve_model_path(configured: str, models_dir: str | None) -> Path:
    """The real file of *configured*, links followed.

    Raises:
        ModelFileError: the path leaves *models_dir*, or is not that of a GGUF file.
    """
    if configured == EMBEDDED:
        return embedded.path()
    if "\0" in configured:
        raise ModelFileError("the path holds a NUL character")
    root = Path(models_dir).expanduser().resolve() if models_dir is not None else None
    path = Path(configured).expanduser() if root is None else root / configured
    path = path.resolve()
    if root is not None and not path.is_relative_to(root):
        raise ModelFileError(f"the path leaves models_dir ({root}), links included; nothing outside of it is loaded")
    if path.suffix.lower() != ".gguf":
        raise ModelFileError(f"{path.name!r} is not a .gguf file; other formats are not loaded by llama.cpp")
    return path


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
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
