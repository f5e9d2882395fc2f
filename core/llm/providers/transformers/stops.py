"""Texts that end an answer: found wherever the tokens are cut, and never shown."""

from collections.abc import Sequence


class StopMatcher:
    """Passes text on, holding back only what may still become one of the stops."""

    __slots__ = ("_held", "_longest", "_stops", "hit")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.hit: str | None = None
        """The stop that was found; nothing is passed on any more."""

    def feed(self, text: str) -> str:
        """What of *text*, and of what was held back before, can be shown."""
        if not self._stops or self.hit is not None:
            return "" if self.hit is not None else text
        self._held += text
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            at, self.hit = min(found, key=lambda one: one[0])
            shown, self._held = self._held[:at], ""
            return shown
        keep = next((n for n in range(min(self._longest - 1, len(self._held)), 0, -1) if self._may_begin(n)), 0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def end(self) -> str:
        """The answer is over: what was held back was no stop."""
        held, self._held = self._held, ""
        return held

    def _may_begin(self, count: int) -> bool:
        tail = self._held[-count:]
        return any(stop.startswith(tail) for stop in self._stops)
