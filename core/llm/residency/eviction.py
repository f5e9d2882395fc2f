"""Who goes when room is needed: as few as possible, the longest idle first, the cheapest to load again among equals.

Times count as equal within a factor of two: whether a model was last used ten or twelve seconds ago says less about its
next use than whether loading it again takes one second or a minute.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Occupant:
    """A model that may be let go."""

    key: Hashable
    device: str
    size: int
    idle: float
    """Seconds since its last call; 0 while it is in use."""
    reload_cost: float
    last_use: float

    @property
    def order(self) -> tuple[int, int, float]:
        """Smaller goes first."""
        return (-_magnitude(self.idle), _magnitude(self.reload_cost), self.last_use)


def choose_victims(occupants: Sequence[Occupant], memory: int, device: str, places: int) -> list[Hashable]:
    """The fewest of *occupants* that free *memory* bytes on *device* and *places* places; `[]`: they cannot.

    Among sets of that size it is the one with the longest idle models.
    """
    ordered = sorted(occupants, key=lambda one: one.order)
    there = [one for one in ordered if one.device == device] if memory > 0 else []
    chosen = _fewest(there, memory)
    if memory > 0 and not chosen:
        return []
    for one in ordered:
        if len(chosen) >= places:
            break
        if one not in chosen:
            chosen.append(one)
    return [one.key for one in chosen] if len(chosen) >= places else []


def _magnitude(seconds: float) -> int:
    return int(math.log2(1 + max(0.0, seconds)))


def _fewest(ordered: Sequence[Occupant], memory: int) -> list[Occupant]:
    """The smallest number of models that take *memory* together, the first of *ordered* wherever that is possible."""
    if memory <= 0:
        return []
    sizes = sorted((one.size for one in ordered), reverse=True)
    number = next((n for n in range(1, len(sizes) + 1) if sum(sizes[:n]) >= memory), None)
    if number is None:
        return []
    chosen: list[Occupant] = []
    missing = memory
    for index, one in enumerate(ordered):
        left = number - len(chosen) - 1
        others = sorted((other.size for other in ordered[index + 1 :]), reverse=True)[:left]
        if one.size + sum(others) >= missing:
            chosen.append(one)
            missing -= one.size
            if len(chosen) == number:
                break
    return chosen
