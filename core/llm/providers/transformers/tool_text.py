"""Tool calls that a model writes into its text, in the formats that are common among open models.

Hermes and Qwen: `<tool_call>{"name": …, "arguments": …}</tool_call>`, any number of them. Mistral: `[TOOL_CALLS]` and a
list. Llama: the whole answer is one object, perhaps after `<|python_tag|>`, with `parameters` for the arguments.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"
LIST: Final = "[TOOL_CALLS]"
PYTHON: Final = "<|python_tag|>"
MARKS: Final = (OPEN, CLOSE, LIST, PYTHON, "<think>", "</think>")
"""Special tokens of some models whose text has to be seen."""


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A call as it stands in the text."""

    name: str
    arguments: str
    """JSON, as the model wrote it where it wrote a text."""


class ToolTextParser:
    """Separates calls from the text around them while it comes. Text that turns out to be no call is passed on."""

    __slots__ = ("_held", "_inside", "_names", "_seen")

    def __init__(self, names: Sequence[str]) -> None:
        """*names* are those of the tools on offer: only an object that names one of them is a call by itself."""
        self._names = frozenset(names)
        self._held = ""
        self._inside = False
        self._seen = False

    def feed(self, text: str) -> tuple[str, list[WrittenCall]]:
        """The text that can be shown, and the calls that are complete."""
        self._held += text
        shown = ""
        calls: list[WrittenCall] = []
        while True:
            if self._inside:
                body, mark, rest = self._held.partition(CLOSE)
                if not mark:
                    return shown, calls
                self._inside, self._held = False, rest
                call = _read(body)
                if call is None:
                    shown += f"{OPEN}{body}{CLOSE}"
                else:
                    calls.append(call)
                    self._seen = True
                continue
            before, mark, rest = self._held.partition(OPEN)
            if mark:
                shown += self._around(before)
                self._inside, self._held = True, rest
                continue
            keep = self._length_kept()
            cut = len(self._held) - keep
            shown += self._around(self._held[:cut])
            self._held = self._held[cut:]
            return shown, calls

    def end(self) -> tuple[str, list[WrittenCall]]:
        """What is left when the answer is over."""
        held, self._held = self._held, ""
        if self._inside:
            # Some models end without the closing mark.
            call = _read(held)
            return ("", [call]) if call is not None else (f"{OPEN}{held}", [])
        calls = self._bare(held)
        return ("", calls) if calls else (self._around(held), [])

    def _around(self, text: str) -> str:
        """*text* without the line breaks that only separate calls."""
        return "" if self._seen and not text.strip() else text

    def _length_kept(self) -> int:
        """How much of the end of what is held may still become a call."""
        head = self._held.lstrip()
        if not self._seen and (not head or head[0] in "{[" or any(_overlap(head, mark) for mark in (LIST, PYTHON))):
            return len(self._held)
        return next((n for n in range(len(OPEN) - 1, 0, -1) if self._held.endswith(OPEN[:n])), 0)

    def _bare(self, text: str) -> list[WrittenCall]:
        inner = text.strip().removeprefix(LIST).removeprefix(PYTHON).strip()
        try:
            value = json.loads(inner)
        except ValueError:
            return []
        entries = value if isinstance(value, list) else [value]
        calls = [_call(entry) for entry in entries]
        found = [call for call in calls if call is not None and call.name in self._names]
        return found if len(found) == len(entries) else []


def _overlap(text: str, mark: str) -> bool:
    return text.startswith(mark) or mark.startswith(text)


def _read(body: str) -> WrittenCall | None:
    try:
        return _call(json.loads(body))
    except ValueError:
        return None


def _call(value: Any) -> WrittenCall | None:
    if not isinstance(value, dict):
        return None
    inner = value.get("function")
    source = inner if isinstance(inner, dict) else value
    name = source.get("name")
    arguments = source.get("arguments", source.get("parameters", {}))
    if not isinstance(name, str) or not name:
        return None
    return WrittenCall(name, arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False))
