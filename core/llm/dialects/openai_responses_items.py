"""The output items of one streamed answer of the Responses format, told apart whatever gateways call them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

CALLS: Final = frozenset({"function_call", "custom_tool_call"})
"""Items that ask the caller to run something."""


class Item:
    """One output item that is being written."""

    __slots__ = ("arguments", "call", "call_number", "delivered", "done", "ids", "kind")

    def __init__(self) -> None:
        self.kind = ""
        self.ids: frozenset[str] = frozenset()
        self.call: Mapping[str, Any] | None = None
        self.call_number = 0
        self.arguments: list[str] = []
        self.delivered = False
        self.done = False

    def describe(self, inner: Mapping[str, Any]) -> None:
        """Remember what *inner*, the item as the server shows it, says about itself."""
        self.kind = string(inner.get("type")) or self.kind
        self.ids |= _ids(inner)


class Items:
    """All of them, by their place."""

    __slots__ = ("_by_place",)

    def __init__(self) -> None:
        self._by_place: dict[object, Item] = {}

    def __iter__(self) -> Iterator[Item]:
        return iter(self._by_place.values())

    def of(self, event: Mapping[str, Any]) -> Item:
        """The item that *event* is about: by its place, since some gateways give it a new id in every event."""
        key = event.get("output_index")
        if key.__class__ is not int:
            inner = event.get("item")
            key = string(event.get("item_id")) or (string(inner.get("id")) if isinstance(inner, Mapping) else "")
        item = self._by_place.get(key)
        if item is None:
            item = self._by_place[key] = Item()
        return item

    def settled(self, output: Sequence[object]) -> list[tuple[Item, Mapping[str, Any]]]:
        """Which item each entry of the last event's list is about; a new one where nothing had spoken of it.

        The list may leave items out, and so number the others anew: what they are called comes first.
        """
        entries = {number: inner for number, inner in enumerate(output) if isinstance(inner, dict)}
        found: dict[int, Item] = {}
        for number, inner in entries.items():
            item = next((one for one in self if one.ids & _ids(inner) and one not in found.values()), None)
            if item is not None:
                found[number] = item
        for number, inner in entries.items():
            if number not in found:
                alike = [one for one in self if one.kind == inner.get("type") and one not in found.values()]
                there = self._by_place.get(number)
                new = self._by_place.setdefault(("last", number), Item()) if not alike else alike[0]
                found[number] = there if there is not None and there in alike else new
        return [(found[number], inner) for number, inner in entries.items()]


def string(value: object) -> str:
    """*value* where it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def _ids(inner: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(filter(None, (string(inner.get("id")), string(inner.get("call_id")))))
