"""What editors, scripts and accidents do to a configuration file while somebody watches it."""

from collections.abc import Iterable, Iterator
from pathlib import Path


def half_writes(path: Path, text: str, *, step: int = 1) -> Iterator[int]:
    """Write *text* in place, *step* bytes more each time; yields how many bytes the file holds, the whole at last."""
    data = text.encode()
    for size in (*range(step, len(data), step), len(data)):
        path.write_bytes(data[:size])
        yield size


def save_storm(path: Path, texts: Iterable[str]) -> int:
    """Write one text after the other, as fast as possible: in place and by renaming in turn; returns how many."""
    count = 0
    for count, text in enumerate(texts, 1):
        if count % 2:
            path.write_text(text, encoding="utf-8")
        else:
            other = path.with_name(f".{path.name}.new")
            other.write_text(text, encoding="utf-8")
            other.replace(path)
    return count
