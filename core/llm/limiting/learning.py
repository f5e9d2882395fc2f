"""Correct our own count by what the provider says is left, and take over limits that nobody has configured."""

from collections.abc import Iterable
from typing import Literal

from core.llm.limiting.headers import Reading
from core.llm.limiting.queue import Reservation
from core.llm.limiting.quota import Quota
from core.llm.limiting.upstream import Scope, UpstreamLimits

Trust = Literal["ignore", "lower", "auto"]


def believe(
    readings: Iterable[Reading], trust: Trust, state: UpstreamLimits, scope: Scope, sent: Reservation, now: float
) -> bool:
    """Apply what came with the answer to the call that *sent* stands for; `True` where *scope* has a new limit.

    What is left is only believed where it is less than our own count. A limit that nobody configured is taken over with
    `auto`, and otherwise once nothing is left of it.
    """
    found = False
    for reading in readings:
        place = _place(sent, reading.name)
        if place is None:
            if (trust == "auto" or reading.remaining == 0) and state.learn(scope, reading, now):
                found = True
            continue
        quota = sent.dimensions[place]
        if isinstance(quota, Quota):
            if quota.limit != reading.limit and (trust == "auto" or quota.learnt):
                quota.change(reading.limit, quota.burst, now)
            quota.lower(reading.remaining, sent.marks[place][1], sent.at, now)
    return found


def _place(sent: Reservation, name: str) -> int | None:
    """Which of the limits of *sent* has this name; that of the model before that of the provider."""
    for place in range(len(sent.dimensions) - 1, -1, -1):
        if sent.dimensions[place].name == name:
            return place
    return None
