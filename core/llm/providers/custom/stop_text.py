"""Ends a text at the first of several stop texts, however it was cut into pieces."""

from collections.abc import Sequence


class StopText:
    """Gives back what is safe to show: nothing of a stop text, not even its beginning."""

    __slots__ = ("_held", "_stops", "ended")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.ended = False
        """True once a stop text has come; whatever follows is dropped."""

    def add(self, piece: str) -> str:
        """What may be shown of the text so far."""
        if self.ended:
            return ""
        text = self._held + piece
        found = min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=None)
        if found is not None:
            self.ended, self._held = True, ""
            return text[:found]
        kept = max((_beginning(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def end(self) -> str:
        """What was held back and turned out to be no stop text."""
        held, self._held = self._held, ""
        return held


def _beginning(text: str, stop: str) -> int:
    """How many characters at the end of *text* may be the beginning of *stop*."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
