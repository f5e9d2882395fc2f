"""Tokens to text, piece by piece: what has come out is never taken back, and no character is cut in two."""

from collections.abc import Callable
from typing import Final

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_PATIENCE: Final = 8
"""Tokens after which an unfinished character is taken for one that will never be finished. None has over four bytes."""


class Detokenizer:
    """The pieces it returns, joined, are the text of all tokens decoded at once."""

    __slots__ = ("_begin", "_decode", "_ids", "_read")

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._begin = 0
        self._read = 0

    def add(self, token: int) -> str:
        """The text that *token* completes; empty while a character is still unfinished.

        Tokens are decoded together with those of the piece before: what a token looks like depends on what it follows.
        """
        self._ids.append(token)
        told = self._decode(self._ids[self._begin : self._read])
        text = self._decode(self._ids[self._begin :])
        if len(text) <= len(told):
            return ""
        if text.endswith(_REPLACEMENT) and len(self._ids) - self._read < _PATIENCE:
            return ""
        self._begin, self._read = self._read, len(self._ids)
        return text[len(told) :]

    def end(self) -> str:
        """What is left: characters that were never finished."""
        told = self._decode(self._ids[self._begin : self._read])
        text = self._decode(self._ids[self._begin :])
        self._begin = self._read = len(self._ids)
        return text[len(told) :]
