"""Function calls of the Gemini format: whole, or with arguments that arrive piece by piece.

A call in pieces opens with its name and `willContinue`, goes on in parts without a name, each piece placed by a JSON
path, and ends with a part that will not continue.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.dialects.gemini_contents import GENERATED_ID
from core.llm.dialects.json import encode_json
from core.llm.dialects.stand_in import digest
from core.llm.providers.base.response import StreamEvent, ToolCallDelta, ToolCallReady

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[([0-9]{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_MOST_ITEMS: Final = 10_000
_MOST_STEPS: Final = 50


class _Open:
    """A call whose arguments are still being written."""

    __slots__ = ("arguments", "id", "name", "number", "signature")

    def __init__(self, number: int, name: str, identifier: str) -> None:
        self.number = number
        self.name = name
        self.id = identifier
        self.arguments: dict[str, Any] = {}
        self.signature: str | None = None


class CallReader:
    """Collects the calls of one answer."""

    __slots__ = ("_answer", "_count", "_open", "_provider")

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._answer = ""
        self._count = 0
        self._open: _Open | None = None

    @property
    def any(self) -> bool:
        """True once a call has begun."""
        return self._count > 0

    def identify(self, answer: str) -> None:
        """The id of the answer, from which ids of calls are made where the provider gives none."""
        self._answer = self._answer or answer

    def add(self, call: object, signature: str | None, events: list[StreamEvent]) -> None:
        """Take the `functionCall` of one part.

        Raises:
            ProviderError: `protocol`, code `tool_delta`: it is no call, or continues none.
        """
        if not isinstance(call, Mapping):
            raise _bad("functionCall is not an object")
        name = call.get("name")
        if isinstance(name, str) and name:
            self._close(events)
            identifier = call.get("id")
            self._begin(name, identifier if isinstance(identifier, str) else "", events)
        current = self._open
        if current is None:
            if not call:
                return
            raise _bad("it has no name")
        current.signature = current.signature or signature
        arguments = call.get("args")
        if isinstance(arguments, Mapping):
            current.arguments.update(arguments)
        elif arguments is not None:
            raise _bad("the arguments are not an object")
        pieces = call.get("partialArgs")
        if pieces is not None:
            if not isinstance(pieces, list):
                raise _bad("partialArgs is not a list")
            for piece in pieces:
                _place(current.arguments, piece)
        if call.get("willContinue") is not True:
            self._close(events)

    def finish(self, events: list[StreamEvent]) -> None:
        """The answer has ended: a call that is still open was cut, and must not look complete."""
        current, self._open = self._open, None
        if current is not None:
            text = encode_json(current.arguments).decode()
            error = "the answer ended while the arguments were being written"
            call = ToolCall(current.id, current.name, {}, text, error, current.signature, self._origin(current))
            events.append(ToolCallReady(current.number, call))

    def _begin(self, name: str, identifier: str, events: list[StreamEvent]) -> None:
        number = self._count
        self._count += 1
        if not identifier:
            identifier = GENERATED_ID + digest(f"{self._answer}:{number}:{name}")
        self._open = _Open(number, name, identifier)
        events.append(ToolCallDelta(number, identifier, name))

    def _close(self, events: list[StreamEvent]) -> None:
        current, self._open = self._open, None
        if current is None:
            return
        text = encode_json(current.arguments).decode()
        events.append(ToolCallDelta(current.number, arguments=text))
        call = ToolCall(
            current.id,
            current.name,
            current.arguments,
            signature=current.signature,
            provider=self._origin(current),
        )
        events.append(ToolCallReady(current.number, call))

    def _origin(self, call: _Open) -> str | None:
        return self._provider if call.signature is not None else None


def _place(arguments: dict[str, Any], piece: object) -> None:
    """Write one piece where its path says; texts of the same place are joined."""
    if not isinstance(piece, Mapping) or not isinstance(piece.get("jsonPath"), str):
        raise _bad("a piece of the arguments has no path")
    steps = _steps(piece["jsonPath"])
    value = _value(piece)
    node: Any = arguments
    for number, step in enumerate(steps):
        last = number + 1 == len(steps)
        following: Any = None if last else [] if isinstance(steps[number + 1], int) else {}
        if isinstance(step, int):
            if not isinstance(node, list) or step > _MOST_ITEMS or step > len(node):
                raise _bad("a piece of the arguments is for an item that is not there")
            if step == len(node):
                node.append(value if last else following)
                node = node[step]
                continue
        else:
            if not isinstance(node, dict):
                raise _bad("a piece of the arguments is for a field of something that has none")
            if step not in node:
                node[step] = value if last else following
                node = node[step]
                continue
        if last:
            known = node[step]
            node[step] = known + value if isinstance(known, str) and isinstance(value, str) else value
        node = node[step]


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    place = 1
    if not path.startswith("$"):
        raise _bad("a path does not begin with $")
    while place < len(path):
        match = _STEP.match(path, place)
        if match is None or len(steps) >= _MOST_STEPS:
            raise _bad("a path cannot be read")
        field, index, single, double = match.groups()
        if index is not None:
            steps.append(int(index))
        else:
            quoted = single if single is not None else double
            steps.append(field if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        place = match.end()
    if not steps or isinstance(steps[0], int):
        raise _bad("a path names no field")
    return steps


def _value(piece: Mapping[str, Any]) -> Any:
    if isinstance(text := piece.get("stringValue"), str):
        return text
    if isinstance(number := piece.get("numberValue"), int | float) and not isinstance(number, bool):
        # The wire has only one kind of number; 3.0 means 3.
        return int(number) if isinstance(number, float) and number.is_integer() else number
    if isinstance(flag := piece.get("boolValue"), bool):
        return flag
    if "nullValue" in piece:
        return None
    return ""


def _bad(detail: str) -> ProviderError:
    return ProviderError("protocol", f"unreadable tool call: {detail}", code="tool_delta", billing="ambiguous")
