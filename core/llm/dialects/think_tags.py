"""Separates `<think>…</think>` at the beginning of an answer from the text that follows.

Only for models that are known to write their thinking into the text: a tag in the middle of an answer is just text. The
newlines around the tags belong to neither.
"""

from typing import Final, Literal

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


class ThinkTagSplitter:
    """Incremental: holds back only what may still turn out to be a tag."""

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._held = ""
        self._state: Literal["before", "opened", "inside", "closed", "after"] = "before"

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
                self._state = "after"
                return "", self._take()
            self._state, self._held = "opened", head[len(_OPEN) :]
        thinking = ""
        if self._state in {"opened", "inside"}:
            thinking = self._inside()
        return thinking, self._text()

    def end(self) -> tuple[str, str]:
        """What is still held back, as thinking and text."""
        inside = self._state in {"opened", "inside"}
        self._state = "after"
        held = self._take()
        return (held, "") if inside else ("", held)

    def _inside(self) -> str:
        if self._state == "opened":
            self._held = self._held.lstrip("\n")
            if not self._held:
                return ""
            self._state = "inside"
        thinking, tag, rest = self._held.partition(_CLOSE)
        if tag:
            self._state, self._held = "closed", rest
            return thinking
        keep = next((n for n in range(len(_CLOSE) - 1, 0, -1) if self._held.endswith(_CLOSE[:n])), 0)
        cut = len(self._held) - keep
        thinking, self._held = self._held[:cut], self._held[cut:]
        return thinking

    def _text(self) -> str:
        if self._state != "closed":
            return ""
        self._held = self._held.lstrip("\n")
        if self._held:
            self._state = "after"
        return self._take()

    def _take(self) -> str:
        held, self._held = self._held, ""
        return held
