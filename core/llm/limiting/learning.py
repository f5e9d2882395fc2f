"""Correct our own count by what the provider says is left, and take over limits that nobody has configured."""

from collections.abc import Mapping
from typing import Literal

from core.llm.limiting.headers import HeaderReader, Names, count
from core.llm.limiting.queue import Reservation
from core.llm.limiting.quota import Quota
from core.llm.limiting.upstream import Scope, UpstreamLimits

Trust = Literal["ignore", "lower", "auto"]


def believe(
    headers: Mapping[str, str],
    reader: HeaderReader,
    trust: Trust,
    state: UpstreamLimits,
    scope: Scope,
    sent: Reservation,
    now: float,
) -> bool:
    """Apply what came with the answer to the call that *sent* stands for; `True` where *scope* has a new limit.

    What is left is only believed where it is less than our own count. A limit that nobody configured is taken over with
    `auto`, and otherwise once nothing is left of it. Nonsense changes nothing.
    """
    found = False
    for names in reader.names(headers):
        remaining = count(headers.get(names.remaining))
        if remaining is None or (trust == "lower" and _tells_nothing(names, remaining, sent)):
            continue
        limit = reader.limit(names, remaining, headers)
        if limit is None:
            continue
        name = reader.name(names, headers)
        place = _place(sent, name)
        if place is None:
            if (trust == "auto" or remaining == 0) and state.learn(scope, name, limit, remaining, now):
                found = True
            continue
        quota = sent.dimensions[place]
        if isinstance(quota, Quota):
            if quota.limit != limit and (trust == "auto" or quota.learnt):
                quota.change(limit, quota.burst, now)
            quota.lower(remaining, sent.marks[place][1], sent.at, now)
    return found


def _tells_nothing(names: Names, remaining: int, sent: Reservation) -> bool:
    """Whether more is left than our own count would ever give at once, which nearly always is so."""
    known = False
    for each in sent.dimensions:
        if isinstance(each, Quota) and (each.name in {names.minute, names.day}):
            if each.learnt or remaining < each.capacity:
                return False
            known = True
    return known or remaining > 0


def _place(sent: Reservation, name: str) -> int | None:
    """Which of the limits of *sent* has this name; that of the model before that of the provider."""
    for place in range(len(sent.dimensions) - 1, -1, -1):
        if sent.dimensions[place].name == name:
            return place
    return None
