"""The models that an alias chooses from, and those that follow when all of them have failed."""

from typing import Final, NamedTuple

from core.llm.common.types import ModelFacts, ModelRef
from core.llm.routing.references import Entry
from core.llm.routing.snapshot import Sight
from core.llm.routing.where import unmet

_TOLD: Final = 10
"""Models whose exclusion is told one by one."""


class Choice(NamedTuple):
    """Who is admitted now."""

    first: tuple[tuple[ModelRef, float], ...]
    """What the strategy orders, with weights, each model once."""
    tail: tuple[ModelRef, ...]
    notes: tuple[str, ...] = ()
    """Who was left out and why."""


class Pool:
    """Entries with their conditions. The choice is made anew only when facts have changed."""

    __slots__ = ("_choice", "_entries", "_facts", "_tail")

    def __init__(self, entries: tuple[Entry, ...], tail: tuple[Entry, ...]) -> None:
        self._entries = entries
        self._tail = tail
        self._facts: list[ModelFacts | None] = []
        self._choice = None if self.conditional else _choice(entries, tail, ())

    @property
    def conditional(self) -> bool:
        """Whether facts decide who is admitted."""
        return any(entry.where for entry in (*self._entries, *self._tail))

    def choice(self, sight: Sight) -> Choice:
        """Who is admitted, by the facts that are known now."""
        if self._choice is not None and not self._facts:
            return self._choice
        facts = [sight.facts(entry.ref) if entry.where else None for entry in (*self._entries, *self._tail)]
        if self._choice is None or facts != self._facts:
            self._facts = facts
            self._choice = self._admitted(facts)
        return self._choice

    def _admitted(self, facts: list[ModelFacts | None]) -> Choice:
        count = len(self._entries)
        left_out: dict[ModelRef, str] = {}
        kept: tuple[list[Entry], list[Entry]] = ([], [])
        for index, entry in enumerate((*self._entries, *self._tail)):
            known = facts[index]
            # What is off stays: it is passed over with the reason for that.
            reasons = [] if known is None else [why for where in entry.where if (why := unmet(where, known))]
            if reasons:
                left_out[entry.ref] = reasons[0]
            else:
                kept[index >= count].append(entry)
        notes = [f"{ref} is left out: {why}" for ref, why in left_out.items()]
        if len(notes) > _TOLD:
            notes[_TOLD:] = [f"{len(notes) - _TOLD} more are left out"]
        return _choice(tuple(kept[0]), tuple(kept[1]), tuple(notes))


def _choice(entries: tuple[Entry, ...], tail: tuple[Entry, ...], notes: tuple[str, ...]) -> Choice:
    # A provider's default model adds nothing where that provider is already there with a model of its own.
    named = {entry.ref.provider for entry in (*entries, *tail) if entry.ref.model}
    first: dict[ModelRef, float] = {}
    for ref, weight, _ in entries:
        if ref.model or ref.provider not in named:
            first[ref] = first.get(ref, 0.0) + weight
    rest = dict.fromkeys(ref for ref, _, _ in tail if ref not in first and (ref.model or ref.provider not in named))
    return Choice(tuple(first.items()), tuple(rest), notes)
