"""Tokens to text, piece by piece: what has come out is never taken back, and no character is cut in two."""

from collections.abc import Callable
from typing import Final

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_UNFINISHED: Final = 3
"""The bytes with which a character can wait for its last; a tokenizer shows them as one replacement or one for each."""
_WINDOW: Final = 64
"""Tokens that are decoded again for each new one, at most, while nothing among them is a finished character."""
_CONTEXT: Final = 8
"""Tokens of that window which are kept when it is full."""


class Detokenizer:
    """The pieces it returns, joined, are the text of all tokens decoded at once."""

    __slots__ = ("_begin", "_decode", "_ids", "_read", "_told")

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._begin = 0
        self._read = 0
        self._told = 0

    def add(self, token: int) -> str:
        """The text that *token* completes; empty while a character is still unfinished.

        Tokens are decoded together with those of the piece before: what a token looks like depends on what it follows.
        """
        self._ids.append(token)
        text = self._decode(self._ids[self._begin :])
        ready = len(text) - _unfinished(text)
        piece = text[self._told : ready]
        if ready < len(text):
            self._told += len(piece)
            if len(self._ids) - self._begin >= _WINDOW:
                self._look_from(len(self._ids) - _CONTEXT, held=len(text) - self._told)
        elif piece:
            self._look_from(self._read, held=0)
        return piece

    def end(self) -> str:
        """What is left: characters that were never finished."""
        text = self._decode(self._ids[self._begin :])
        piece = text[self._told :]
        self._look_from(len(self._ids), held=0)
        return piece

    def _look_from(self, begin: int, *, held: int) -> None:
        self._begin, self._read = begin, len(self._ids)
        self._told = max(0, len(self._decode(self._ids[begin:])) - held)


def _unfinished(text: str) -> int:
    """How many characters at the end of *text* may still become one, with the tokens that follow."""
    return min(len(text) - len(text.rstrip(_REPLACEMENT)), _UNFINISHED)
