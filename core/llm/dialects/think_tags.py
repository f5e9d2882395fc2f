"""Separates `<think>…</think>` at the beginning of an answer from the text that follows.

Only for models that are known to write their thinking into the text: a tag in the middle of an answer is just text.
"""

from typing import Final

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


class ThinkTagSplitter:
    """Incremental: holds back only what may still turn out to be a tag."""

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._held = ""
        self._state = "before"

    def feed(self, text: str) -> tuple[str, str]:
        """The thinking and the text that *text* completes."""
        if self._state == "after":
            return "", text
        self._held += text
        if self._state == "before":
            head = self._held.lstrip()
            if len(head) < len(_OPEN) and _OPEN.startswith(head):
                return "", ""
            if not head.startswith(_OPEN):
                return "", self.end()[1]
            self._state, self._held = "inside", head[len(_OPEN) :].lstrip("\n")
        thinking, tag, rest = self._held.partition(_CLOSE)
        if tag:
            self._state, self._held = "after", ""
            return thinking, rest.lstrip("\n")
        keep = next((n for n in range(len(_CLOSE) - 1, 0, -1) if self._held.endswith(_CLOSE[:n])), 0)
        cut = len(self._held) - keep
        thinking, self._held = self._held[:cut], self._held[cut:]
        return thinking, ""

    def end(self) -> tuple[str, str]:
        """What is still held back, as thinking and text."""
        held, self._held = self._held, ""
        inside = self._state == "inside"
        self._state = "after"
        return (held, "") if inside else ("", held)
