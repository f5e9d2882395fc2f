"""Tool calls that arrive in pieces, told apart although servers number and name the pieces each in their own way.

Seen in the wild: no index or one written as text, an empty id or a null name on later pieces, one index for several
calls, pieces of two calls in turn, names in pieces, a new id (and the name again) on every piece. An index wins; within
one index a new id that comes with a name, or a name after complete arguments, begins another call. Two calls are never
mixed.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic_core import from_json

from core.llm.common.exceptions import ProviderError
from core.llm.common.messages import ToolCall
from core.llm.dialects.json import encode_json
from core.llm.dialects.stand_in import digest
from core.llm.dialects.tool_names import bare_name
from core.llm.providers.base.response import StreamEvent, ToolCallDelta, ToolCallReady

_NUMBER: Final = re.compile(r"[0-9]{1,6}")


class _Open:
    """A call whose arguments are still being written."""

    __slots__ = ("arguments", "id", "name", "number", "signature")

    def __init__(self, number: int) -> None:
        self.number = number
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.signature: str | None = None

    def is_whole(self) -> bool:
        """True where the arguments so far are complete JSON: what follows belongs to another call."""
        if not self.arguments or not self.arguments[-1].endswith("}"):
            return False
        try:
            from_json("".join(self.arguments))
        except ValueError:
            return False
        return True

    def add_name(self, name: str) -> None:
        """Take a *name* into account: the first one, or another piece of it while nothing else has come."""
        if not self.name:
            self.name = name
        elif name and name != self.name and not self.arguments:
            self.name = name if name.startswith(self.name) else self.name + name


class ToolCallAssembler:
    """Collects the pieces of one answer."""

    __slots__ = ("_by_id", "_by_index", "_calls", "_current", "_provider")

    def __init__(self, provider: str | None = None) -> None:
        """*provider* is where signatures on calls come from: nobody else is sent them."""
        self._provider = provider
        self._calls: list[_Open] = []
        self._by_index: dict[int, _Open] = {}
        self._by_id: dict[str, _Open] = {}
        self._current: _Open | None = None

    @property
    def any(self) -> bool:
        """True once a call has begun."""
        return bool(self._calls)

    def add(self, pieces: object, events: list[StreamEvent]) -> None:
        """Take the `tool_calls` of one delta; appends a `ToolCallDelta` for each piece.

        Raises:
            ProviderError: `protocol`, code `tool_delta`: a piece that belongs to no call.
        """
        if not isinstance(pieces, list):
            raise _bad_piece("tool_calls is not a list")
        for piece in pieces:
            if not isinstance(piece, Mapping):
                raise _bad_piece("a tool call is not an object")
            self._add(piece, events)

    def _add(self, piece: Mapping[str, Any], events: list[StreamEvent]) -> None:
        function = piece.get("function") or piece.get("custom")
        source: Mapping[str, Any] = function if isinstance(function, Mapping) else piece
        name, arguments = bare_name(_text(source.get("name"))), source.get("arguments", source.get("input"))
        if isinstance(arguments, Mapping):
            arguments = encode_json(arguments).decode()
        text = _text(arguments)
        identifier, index = _text(piece.get("id")), piece.get("index")
        if not isinstance(index, int) or isinstance(index, bool):
            index = int(index) if isinstance(index, str) and _NUMBER.fullmatch(index) else None
        call = self._find(index, identifier, name, text)
        if call is None:
            if not name and not identifier and index is None:
                if text:
                    raise _bad_piece("arguments came before any tool call")
                return
            call = self._begin(index)
        self._current = call
        call.id = call.id or identifier
        if identifier:
            self._by_id.setdefault(identifier, call)
        call.add_name(name)
        call.signature = call.signature or signature_of(piece)
        if text:
            call.arguments.append(text)
        events.append(ToolCallDelta(call.number, identifier, name, text))

    def _find(self, index: int | None, identifier: str, name: str, text: str) -> _Open | None:
        known = self._by_id.get(identifier) if identifier else None
        if index is not None:
            call = self._by_index.get(index)
            if call is None:
                return None
            if not identifier or not call.id or call.id == identifier:
                is_name = bool(call.id) and not call.arguments
                return call if is_name or not _begins_another(call, identifier, name, text) else None
            return known or (call if not name or _goes_on(call, name, text) else None)
        if identifier:
            current = self._current
            if known is None and current is not None and not name and (not current.id or _lacks(current, text)):
                return current
            return known
        call = self._current
        return None if call is not None and _begins_another(call, identifier, name, text) else call

    def _begin(self, index: int | None) -> _Open:
        call = _Open(len(self._calls))
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def finish(self, response_id: str, events: list[StreamEvent]) -> None:
        """The answer is complete: appends a `ToolCallReady` for each call, in order.

        Raises:
            ProviderError: `protocol`, code `tool_delta`: a call without a name.
        """
        for call in self._calls:
            if not call.name:
                raise _bad_piece("a tool call has no name")
            name = bare_name(call.name)
            identifier = call.id or "call_" + digest(f"{response_id}:{call.number}:{name}")
            ready = ToolCall.from_text(identifier, name, "".join(call.arguments), call.signature)
            if call.signature is not None:
                ready = replace(ready, provider=self._provider)
            events.append(ToolCallReady(call.number, ready))


def _begins_another(call: _Open, identifier: str, name: str, text: str) -> bool:
    """Whether a piece with *name*, and without an id of its own, is the first of another call than *call*."""
    if not name or not call.name or (identifier and identifier == call.id):
        return False
    return name != call.name or (bool(text) and call.is_whole())


def _goes_on(call: _Open, name: str, text: str) -> bool:
    """Whether a piece with *name* and an id of its own belongs to *call*: its arguments are not whole yet."""
    return name == call.name and bool(call.arguments) and (not text.strip() or not call.is_whole())


def _lacks(call: _Open, text: str) -> bool:
    """Whether *text*, which came with an id of its own and without a name, is what *call* still lacks."""
    return bool(text and call.name) and not call.is_whole()


def calls_from_openai(raw: object, response_id: str, provider: str | None = None) -> list[ToolCall]:
    """The tool calls of a whole message; ids that are missing are made up, always the same for the same answer.

    Raises:
        ProviderError: `protocol`, code `schema`.
    """
    if not raw:
        return []
    assembler = ToolCallAssembler(provider)
    events: list[StreamEvent] = []
    # Whole calls are pieces with a number of their own, whatever index or id they carry.
    pieces = raw if isinstance(raw, list) else [raw]
    assembler.add([{**one, "index": n} if isinstance(one, Mapping) else one for n, one in enumerate(pieces)], events)
    events.clear()
    assembler.finish(response_id, events)
    return [event.call for event in events if isinstance(event, ToolCallReady)]


def signature_of(piece: Mapping[str, Any]) -> str | None:
    """Google's thought signature on a tool call, which must come back with it."""
    extra = piece.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    signature = google.get("thought_signature") if isinstance(google, Mapping) else None
    return signature if isinstance(signature, str) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _bad_piece(detail: str) -> ProviderError:
    return ProviderError("protocol", f"unreadable tool call: {detail}", code="tool_delta", billing="ambiguous")
