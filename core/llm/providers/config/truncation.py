"""Tell a file that is still being written from one whose end, or which itself, was deleted on purpose.

More than a quarter of all beginnings of a typical file are valid configurations by themselves. So text that is a
beginning of what is in force is taken for an unfinished write, until it has stayed as it is for a while.
"""

from collections.abc import Mapping
from pathlib import Path

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.tree import Origin


class TruncationGuard:
    """Compares what was read with what is in force."""

    def __init__(self) -> None:
        self._texts: dict[Path, bytes] = {}
        self.held: frozenset[Path] = frozenset()
        """The files in force that hold something, those of secrets included."""
        self._suspect = ""
        self._since = 0.0

    def accept(self, texts: Mapping[Path, bytes | None], secrets: frozenset[Path] = frozenset()) -> None:
        """Remember *texts* as what is in force, and the files that hold its *secrets*."""
        self._texts = {path: data for path, data in texts.items() if data and data.strip()}
        self.held = secrets.union(self._texts)
        self._suspect = ""

    def check(
        self,
        texts: Mapping[Path, bytes | None],
        digest: str,
        now: float,
        patience: float,
        gone: frozenset[Path] = frozenset(),
    ) -> ConfigIssue | None:
        """Complain about a text that looks unfinished, until *patience* seconds have passed without a change.

        The same for a file that is *gone*, or empty: whoever replaces it may have taken it away first.
        """
        place = next(
            (_end(path, data) for path, data in texts.items() if data and self._is_beginning(path, data)), None
        )
        problem = "the file looks truncated: it ends in the middle of the text in force"
        if place is None and gone:
            place = Origin(str(min(gone)))
            problem = "the file is gone or empty: what it said stays in force"
        if place is None:
            self._suspect = ""
            return None
        if digest != self._suspect:
            self._suspect, self._since = digest, now
        if now - self._since >= patience:
            return None
        advice = f"if this is meant, leave it as it is: it is accepted after {patience:g} s"
        return place.issue(problem, suggestion=advice)

    def _is_beginning(self, path: Path, data: bytes) -> bool:
        before = self._texts.get(path, b"")
        return len(data) < len(before) and before.startswith(data)


def _end(path: Path, data: bytes) -> Origin:
    return Origin(str(path), data.count(b"\n") + 1, len(data) - data.rfind(b"\n"))
