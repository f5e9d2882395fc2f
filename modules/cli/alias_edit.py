"""One value of a YAML file is replaced, and nothing else of it: comments, order and line ends stay.

The value is found by the place that the configuration gives for it, and replaced only where the text at that place is
the value itself, on one line. Whatever is written in another way is left to a person.
"""

import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]*")
"""What needs no quotes wherever it stands in YAML."""
_AFTER_PLAIN: Final = re.compile(r"\s*(?:[,}\]].*|\s#.*)?", re.DOTALL)


class NotEditable(Exception):
    """The value is written in a way that is left to a person; says which."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A file before and after."""

    path: Path
    before: bytes
    after: bytes

    def apply(self) -> None:
        """Put the new text in the place of the old one at once: a reader sees the one or the other.

        Raises:
            NotEditable: somebody else has written to the file meanwhile.
            OSError: it cannot be written.
        """
        self._replace(self.before, self.after)

    def undo(self) -> None:
        """Put the old text back, unless somebody has written another one."""
        self._replace(self.after, self.before)

    def _replace(self, expected: bytes, text: bytes) -> None:
        # A link to the file stays a link.
        target = self.path.resolve()
        if target.read_bytes() != expected:
            raise NotEditable("it was edited by somebody else in the same moment: look at it, and try again")
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _made_like(target, Path(name))
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _made_like(old: Path, new: Path) -> None:
    """Give *new* the owner and the mode of *old*."""
    found, own = old.stat(), new.stat()
    if (found.st_uid, found.st_gid) != (own.st_uid, own.st_gid):
        # Whoever may write to the folder may not always give a file away; then it is theirs, and readable as before.
        with suppress(PermissionError):
            os.chown(new, found.st_uid, found.st_gid)
    new.chmod(found.st_mode & 0o7777)


def edit_of(path: Path, line: int, column: int, old: str, new: str) -> Edit:
    """The edit that writes *new* for *old*, which stands at *line* and *column*, both counted from 1.

    Raises:
        NotEditable: what stands there is not plainly *old*.
        OSError: the file cannot be read.
    """
    before = path.read_bytes()
    lines = before.decode("utf-8").split("\n")
    if not 1 <= line <= len(lines):
        raise NotEditable("the file has changed meanwhile")
    text = lines[line - 1]
    start = column - 1
    quote = text[start : start + 1] if text[start : start + 1] in {"'", '"'} else ""
    written = f"{quote}{old}{quote}"
    rest = text[start + len(written) :]
    if not text.startswith(written, start) or not _AFTER_PLAIN.fullmatch(rest):
        raise NotEditable("the value is not written there as plain text on one line")
    if quote or _PLAIN.fullmatch(new) is None:
        quote = quote or '"'
        if "\\" in new or quote in new:
            raise NotEditable("the new name needs more than quotes")
    lines[line - 1] = f"{text[:start]}{quote}{new}{quote}{rest}"
    return Edit(path, before, "\n".join(lines).encode("utf-8"))
