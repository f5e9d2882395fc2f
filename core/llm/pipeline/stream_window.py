"""How much of a growing text may be shown, and the pieces of it that must be checked before. Pure.

The pieces depend on the text only, never on how it was cut on its way: the same answer is judged in the same way
whether it is streamed or not.
"""

from collections.abc import Iterator


class StreamWindow:
    """One text as it grows. Everything up to *width* characters long is seen whole in one of the pieces.

    A piece ends at every multiple of the stride and at the end of the text. It reaches so far back that whatever ends
    behind the piece before it begins in this one, with one letter to spare for checks that look for ends of words.
    """

    __slots__ = ("_dropped", "_ends", "_stride", "_text", "_width", "cleared", "length")

    def __init__(self, width: int) -> None:
        self._width = width
        self._stride = max(1, width // 4)
        self._text = ""
        self._dropped = 0
        self._ends = self._stride
        self.length = 0
        """Characters that have arrived."""
        self.cleared = 0
        """Characters that may be shown once every piece so far has been found good."""

    def add(self, text: str) -> Iterator[str]:
        """The pieces that are complete now; `cleared` moves on with each that is taken."""
        self._text += text
        self.length += len(text)
        while self._ends <= self.length:
            yield self._text[
                max(0, self._ends - self._stride - self._width) - self._dropped : self._ends - self._dropped
            ]
            self.cleared = max(self.cleared, self._ends - self._width + 1)
            self._ends += self._stride
        # What the next piece begins with: whatever ends in its stride, and one letter more.
        keep = max(0, self._ends - self._stride - self._width)
        if keep > self._dropped:
            self._text, self._dropped = self._text[keep - self._dropped :], keep

    def end(self) -> Iterator[str]:
        """The last piece, if there is one; after it everything may be shown."""
        if self.length > self._ends - self._stride:
            yield self._text
        self.cleared = self.length


def pieces(text: str, width: int) -> Iterator[str]:
    """The pieces of a whole text."""
    window = StreamWindow(width)
    yield from window.add(text)
    yield from window.end()
