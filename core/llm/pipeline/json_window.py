"""A window over text that is JSON: what its escapes stand for is what is checked. Pure."""

import re
from collections import deque
from collections.abc import Iterator
from typing import Final

from core.llm.pipeline.stream_window import StreamWindow

_UNIT: Final = re.compile(r"[^\\]+|\\u[0-9a-fA-F]{4}|\\[^u]", re.DOTALL)
_LETTERS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LONGEST: Final = 6


class JsonWindow:
    """Like `StreamWindow`, for JSON as it was written: an escape counts as the one letter that it stands for.

    `length` and `cleared` count what was written, so that nothing is cut in the middle of an escape.
    """

    __slots__ = ("_marks", "_plain", "_raw", "_rest", "_said", "cleared", "length")

    def __init__(self, width: int) -> None:
        self._said = StreamWindow(width)
        self._rest = ""
        """An escape that is not complete."""
        self._plain = self._raw = 0
        self._marks: deque[tuple[int, int, bool]] = deque()
        """Where units end in what is said and in what was written, and whether both are the same in between."""
        self.length = 0
        self.cleared = 0

    def add(self, text: str) -> Iterator[str]:
        """The pieces that are complete now; `cleared` moves on with each that is taken."""
        self.length += len(text)
        text = self._rest + text
        said: list[str] = []
        position = 0
        while position < len(text):
            unit = _UNIT.match(text, position)
            if unit is None and len(text) - position < _LONGEST:
                break
            # What is no escape although it begins like one is taken as it stands.
            written = unit[0] if unit else text[position]
            said.append(self._understood(written))
            position += len(written)
        self._rest = text[position:]
        for piece in self._said.add("".join(said)):
            yield piece
            self._clear()
        self._clear()

    def end(self) -> Iterator[str]:
        """The last piece, if there is one; after it everything may be shown."""
        rest, self._rest = self._rest, ""
        yield from self._said.add(rest)
        yield from self._said.end()
        self.cleared = self.length

    def _understood(self, written: str) -> str:
        if written[0] != "\\" or len(written) == 1:
            letters = written
        elif written[1] == "u":
            letters = chr(int(written[2:6], 16))
        else:
            letters = _LETTERS.get(written[1], written[1])
        self._plain += len(letters)
        self._raw += len(written)
        self._marks.append((self._plain, self._raw, letters == written))
        return letters

    def _clear(self) -> None:
        said = self._said.cleared
        while self._marks and self._marks[0][0] <= said:
            self.cleared = self._marks.popleft()[1]
        if self._marks and self._marks[0][2]:
            plain, raw, _ = self._marks[0]
            self.cleared = max(self.cleared, raw - (plain - said))
