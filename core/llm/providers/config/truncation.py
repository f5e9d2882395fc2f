"""Tell a file that is still being written from one whose end was deleted on purpose.

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
        self._in_force: dict[Path, bytes | None] = {}
        self._suspect = ""
        self._since = 0.0

    def accept(self, contents: Mapping[Path, bytes | None]) -> None:
        """Remember *contents* as what is in force."""
        self._in_force = dict(contents)
        self._suspect = ""

    def check(
        self, contents: Mapping[Path, bytes | None], digest: str, now: float, patience: float
    ) -> ConfigIssue | None:
        """Complain about a text that looks unfinished, until *patience* seconds have passed without a change."""
        file = next((path for path, data in contents.items() if self._is_beginning(path, data)), None)
        if file is None:
            self._suspect = ""
            return None
        if digest != self._suspect:
            self._suspect, self._since = digest, now
        if now - self._since >= patience:
            return None
        text = contents[file] or b""
        place = Origin(str(file), text.count(b"\n") + 1, len(text) - text.rfind(b"\n"))
        return place.issue(
            "the file looks truncated: it ends in the middle of the text in force",
            suggestion=f"if this is meant, leave it as it is: it is accepted after {patience:g} s",
        )

    def _is_beginning(self, path: Path, data: bytes | None) -> bool:
        before = self._in_force.get(path)
        return (
            bool(data and before) and len(data or b"") < len(before or b"") and (before or b"").startswith(data or b"")
        )
