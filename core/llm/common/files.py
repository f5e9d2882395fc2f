"""Files that others may move, remove or damage while they are in use."""

import os
from pathlib import Path


def identity(file: Path | int) -> tuple[int, int] | None:
    """What stays the same for a file or folder under any name; `None` where there is none. An `int` is a descriptor."""
    try:
        found = file.stat() if isinstance(file, Path) else os.fstat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def free_name(path: Path) -> Path:
    """Where a damaged file is put: beside the new one, under the first number that is not taken."""
    number = 1
    while (aside := path.with_suffix(f".damaged-{number}")).exists():
        number += 1
    return aside
