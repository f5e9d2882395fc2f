"""Placeholders in an answer, and the values that the caller sees in their place. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json


class Placeholders:
    """The values of one call by their placeholders."""

    __slots__ = ("_pattern", "_values", "longest")

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)
        # The longest first: one placeholder may begin with another.
        names = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, names)))
        self.longest = len(names[0])

    def quoted(self) -> "Placeholders":
        """The same for JSON text, in whose strings some letters are written differently."""
        return Placeholders({_quoted(name): _quoted(value) for name, value in self._values.items()})

    def restored(self, text: str) -> str:
        """*text* with the value in the place of every placeholder."""
        return self._pattern.sub(lambda match: self._values[match[0]], text)

    def restored_in(self, value: Any) -> Any:
        """*value*, which came out of JSON, with every string in it restored."""
        if isinstance(value, str):
            return self.restored(value)
        if isinstance(value, Mapping):
            return {self.restored(str(key)): self.restored_in(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.restored_in(item) for item in value]
        return value

    def split(self, text: str) -> tuple[str, str]:
        """What of *text* can be shown now, restored, and the rest, which may be the beginning of a placeholder."""
        shown: list[str] = []
        position = 0
        while True:
            match = self._pattern.search(text, position)
            open_at = self._unfinished(text, position, match.start() if match else len(text))
            if open_at is not None:
                shown.append(text[position:open_at])
                return "".join(shown), text[open_at:]
            if match is None:
                shown.append(text[position:])
                return "".join(shown), ""
            shown.append(text[position : match.start()])
            shown.append(self._values[match[0]])
            position = match.end()

    def _unfinished(self, text: str, position: int, until: int) -> int | None:
        """Where, from *position* to *until*, something begins that goes on to the end and may become a placeholder."""
        for start in range(max(position, len(text) - self.longest + 1), min(until + 1, len(text))):
            rest = text[start:]
            if any(len(name) > len(rest) and name.startswith(rest) for name in self._values):
                return start
        return None


def _quoted(text: str) -> str:
    return to_json(text).decode()[1:-1]


class Restorer:
    """Restores a text that arrives in pieces."""

    __slots__ = ("_held", "_placeholders")

    def __init__(self, placeholders: Placeholders) -> None:
        self._placeholders = placeholders
        self._held = ""

    def add(self, text: str) -> str:
        """What can be shown now."""
        shown, self._held = self._placeholders.split(self._held + text)
        return shown

    def end(self) -> str:
        """What was held back and became no placeholder."""
        held, self._held = self._held, ""
        return self._placeholders.restored(held)
