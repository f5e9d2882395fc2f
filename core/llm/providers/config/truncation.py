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
        self._in_force: dict[Path, bytes | None] = {}
        self._secrets: frozenset[Path] = frozenset()
        self._suspect = ""
        self._since = 0.0

    def accept(self, contents: Mapping[Path, bytes | None], secrets: frozenset[Path] = frozenset()) -> None:
        """Remember *contents* as what is in force, and the files that hold its *secrets*."""
        self._in_force = dict(contents)
        self._secrets = secrets
        self._suspect = ""

    def check(
        self,
        contents: Mapping[Path, bytes | None],
        digest: str,
        now: float,
        patience: float,
        missing: frozenset[Path] = frozenset(),
    ) -> ConfigIssue | None:
        """Complain about a text that looks unfinished, until *patience* seconds have passed without a change.

        The same for a secret: *missing* are the files of secrets that are not there, or empty.
        """
        file = next((path for path, data in contents.items() if self._is_beginning(path, data)), None)
        gone = min(self._secrets & missing, default=None)
        if file is None and gone is None:
            self._suspect = ""
            return None
        if digest != self._suspect:
            self._suspect, self._since = digest, now
        if now - self._since >= patience:
            return None
        meant = f"if this is meant, leave it as it is: it is accepted after {patience:g} s"
        if file is None:
            return Origin(str(gone)).issue("the secret file is gone or empty; the key in force stays", suggestion=meant)
        text = contents[file] or b""
        place = Origin(str(file), text.count(b"\n") + 1, len(text) - text.rfind(b"\n"))
        return place.issue(
            "the file looks truncated: it ends in the middle of the text in force",
            suggestion=meant,
        )

    def _is_beginning(self, path: Path, data: bytes | None) -> bool:
        before = self._in_force.get(path)
        return (
            bool(data and before) and len(data or b"") < len(before or b"") and (before or b"").startswith(data or b"")
        )
