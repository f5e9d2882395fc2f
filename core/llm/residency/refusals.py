"""What a call is told that gets no room: who holds it, and what to change."""

from collections.abc import Iterable

from core.llm.common.exceptions import ModelError, ModelQueueFull, ModelTooLarge, NoCapacity
from core.llm.residency.resident import Resident


def queue_full(resident: Resident) -> ModelQueueFull:
    """As many calls as may wait for the model do so already."""
    return ModelQueueFull(
        f"{len(resident.waiters)} calls wait for the local model {resident.name} already: send fewer at once, give the "
        "alias a fallback, or raise residency.max_waiting",
        model=resident.name,
    )


def no_room_in_time(resident: Resident, holders: Iterable[Resident], seconds: float) -> NoCapacity:
    """*holders* kept the room for all of *seconds*."""
    held = [f"{one.name} ({one.leases} calls{', pinned' if one.pinned else ''})" for one in holders]
    return NoCapacity(
        f"no room for the local model {resident.name} within {seconds:g} s. In memory: {', '.join(held) or 'nothing'}. "
        "Raise residency.max_loaded or memory_budget, or give the alias a fallback",
        model=resident.name,
    )


def never_room(resident: Resident, budget: int | None, reason: str) -> ModelError:
    """There can be no room as long as *reason* holds."""
    if budget is None or resident.size <= budget:
        return NoCapacity(f"no room for the local model {resident.name}: {reason}", model=resident.name)
    return ModelTooLarge(
        f"the local model {resident.name} needs {resident.size} bytes and the whole budget of {resident.device!r} is "
        f"{budget}: raise residency.memory_budget, or configure a smaller model",
        model=resident.name,
        need=resident.size,
        budget=budget,
    )
