"""What to load, what to let go, and what has to wait. Pure: the whole decision is made from what it is given.

Rooms are memory on a device and places under `max_loaded`. Models that wait are served in the order in which they began
to wait. One that cannot be given room keeps what is being freed for it from those behind it, so none starves; one that
has waited for longer than `patience` also gets the room of a model that is in use, which takes no new calls from then
on. What is leased is never unloaded.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from core.llm.residency.eviction import Occupant, choose_victims

ModelPhase = Literal["absent", "loading", "ready", "draining", "unloading"]
MOVING: Final[frozenset[ModelPhase]] = frozenset({"loading", "unloading"})
"""What ends by itself, without a call that has to end first."""


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model as the planner sees it."""

    key: Hashable
    name: str
    """For people: `provider/model`."""
    phase: ModelPhase = "absent"
    device: str = ""
    size: int = 0
    """Bytes that it takes, or will take."""
    leases: int = 0
    last_use: float = 0.0
    """When its last lease ended, or when it was loaded."""
    waiting_since: float | None = None
    """Since when it is wanted; `None`: nobody wants it to be loaded."""
    not_before: float = -math.inf
    """When it may be loaded again after a failure."""
    pinned: bool = False
    foreign: bool = False
    """Others have loaded it, on a server that is shared: it takes memory and is not ours to unload."""
    leaving: bool = False
    """It is to go as soon as it is idle: its configuration has gone, or another model took its place."""
    ttl: float | None = None
    """Seconds that it stays when idle; `None`: for ever."""
    reload_cost: float = 0.0
    """Seconds that loading it takes."""
    slot: Hashable = None
    """Where only one of several models can be: those of an equal slot exclude each other."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What there is room for."""

    max_loaded: int | None = None
    budget: Mapping[str, int] = field(default_factory=dict)
    """Bytes by device; a device that is not named is unlimited."""
    max_parallel_loads: int = 1
    patience: float = 5.0


@dataclass(slots=True)
class Plan:
    """What to do now. A model stands in at most one of the three."""

    load: list[Hashable] = field(default_factory=list)
    unload: dict[Hashable, str] = field(default_factory=dict)
    """Idle models, each with the reason."""
    drain: dict[Hashable, str] = field(default_factory=dict)
    """Models in use that get no new leases, each with the reason; they are unloaded when the last one ends."""
    refused: dict[Hashable, str] = field(default_factory=dict)
    """Models for which there can be no room, with the reason."""
    soon: set[Hashable] = field(default_factory=set)
    """Models that wait for nothing but loads and unloads, their own back-off included: no call holds their room."""
    next_at: float = math.inf
    """When to look again although nothing has happened until then."""


def plan(models: Sequence[ModelView], limits: Limits, now: float) -> Plan:
    """The steps that *models* need at *now*."""
    return _Planner(models, limits, now).run()


class _Planner:
    """The books while one plan is made."""

    def __init__(self, models: Sequence[ModelView], limits: Limits, now: float) -> None:
        self.models = models
        self.limits = limits
        self.now = now
        self.plan = Plan()
        self.present = [model for model in models if model.phase != "absent"]
        self.places = math.inf if limits.max_loaded is None else limits.max_loaded - self._count(self.present)
        """Places that are free, less what is kept for those who wait; may be negative."""
        self.free = {device: budget - self._used(device) for device, budget in limits.budget.items()}
        going = [model for model in self.present if _goes(model)]
        self.coming_places = self._count(going)
        """Places of models that are on their way out."""
        self.coming = {device: sum(m.size for m in going if m.device == device) for device in self.free}
        moving = [model for model in self.present if _moves(model)]
        self.moving_places = self._count(moving)
        """Places of models that load, or go without waiting for a call: nobody uses them yet, or any more."""
        self.moving = {device: sum(m.size for m in moving if m.device == device) for device in self.free}
        self.slots: dict[Hashable, Hashable] = {}
        """Slots for which somebody is served, or waits, already: with who that is."""
        self.loading: dict[str, int] = {}
        for model in self.present:
            if model.phase == "loading":
                self.loading[model.device] = self.loading.get(model.device, 0) + 1

    def run(self) -> Plan:
        """Let the expired go, make room where there is too little, then serve those who wait."""
        for model in self.present:
            self._expire(model)
        self._relieve()
        waiting = [m for m in self.models if m.phase == "absent" and m.waiting_since is not None]
        for model in sorted(waiting, key=lambda m: m.waiting_since or 0.0):
            if model.not_before > self.now:
                self.plan.soon.add(model.key)
                self._look_again(model.not_before)
            else:
                self._serve(model)
        return self.plan

    def _expire(self, model: ModelView) -> None:
        if model.phase == "draining" and not model.leases:
            self._let_go(model, "no call uses it any more")
            return
        if model.phase != "ready" or model.leases or model.foreign:
            return
        if model.leaving:
            self._let_go(model, "it is not wanted any more")
        elif model.ttl is not None and not model.pinned and model.waiting_since is None:
            if model.last_use + model.ttl <= self.now:
                self._let_go(model, f"idle for {self.now - model.last_use:.0f} s")
            else:
                self._look_again(model.last_use + model.ttl)

    def _relieve(self) -> None:
        """What was measured may be more than what was guessed: let idle models go where there is too much."""
        lack = {device: -free - self.coming[device] for device, free in self.free.items()}
        places = -self.places - self.coming_places if self.places != math.inf else 0
        for device, missing in lack.items():
            if missing > 0:
                for victim in choose_victims(self._idle(), missing, device, 0):
                    self._let_go_key(victim, "the models take more memory than there is")
        if places > 0:
            for victim in choose_victims(self._idle(), 0, "", int(places)):
                self._let_go_key(victim, "more models are loaded than max_loaded allows")

    def _serve(self, model: ModelView) -> None:
        rivals = [m for m in self.present if m.slot is not None and m.slot == model.slot]
        if (reason := self._never_fits(model) or _kept_out(rivals)) is not None:
            self.plan.refused[model.key] = reason
            return
        if model.slot is not None:
            first = self.slots.setdefault(model.slot, model.key)
            if first != model.key:
                if first in self.plan.soon or first in self.plan.load:
                    self.plan.soon.add(model.key)
                return
        for rival in rivals:
            self._clear_slot(rival, model)
        fits = not rivals and self.places >= 1 and self.free.get(model.device, math.inf) >= model.size
        self._reserve(model)
        if fits and self.loading.get(model.device, 0) < self.limits.max_parallel_loads:
            self.loading[model.device] = self.loading.get(model.device, 0) + 1
            self.plan.load.append(model.key)
        elif not fits:
            self._make_room(model)
        if all(_moves(rival) or rival.key in self.plan.unload for rival in rivals) and not self._held_by_calls(model):
            if model.key not in self.plan.load:
                self.plan.soon.add(model.key)
            self._count_as_moving(model)

    def _held_by_calls(self, model: ModelView) -> bool:
        """Whether some of what *model* needs is held by models in use, or for somebody who waits for those."""
        lacks = -self.free.get(model.device, 0) > self.moving.get(model.device, 0)
        return lacks or -self.places > self.moving_places

    def _never_fits(self, model: ModelView) -> str | None:
        fixed = [m for m in self.present if m.phase == "ready" and m.pinned and m.key != model.key]
        budget = self.limits.budget.get(model.device)
        if budget is not None:
            lasting = sum(m.size for m in fixed if m.device == model.device)
            if model.size + lasting > budget:
                return f"{budget - lasting} bytes are not held by pinned models"
        if self.limits.max_loaded is not None and len(fixed) >= self.limits.max_loaded:
            return "every place under max_loaded is held by a pinned model"
        return None

    def _clear_slot(self, rival: ModelView, model: ModelView) -> None:
        if rival.phase != "ready" or rival.key in self.plan.unload or rival.key in self.plan.drain:
            return
        if not rival.leases:
            self._let_go(rival, f"{model.name} takes its place")
        elif self._patient_until(model) <= self.now:
            self._drain(rival, model)
        else:
            self._look_again(self._patient_until(model))

    def _make_room(self, model: ModelView) -> None:
        """Choose who goes for *model*, beyond what is going anyway."""
        memory = max(0, -self.free[model.device] - self.coming[model.device]) if model.device in self.free else 0
        places = max(0, -self.places - self.coming_places) if self.places != math.inf else 0
        if not memory and not places:
            return
        victims = choose_victims(self._idle(), memory, model.device, int(places))
        for victim in victims:
            self._let_go_key(victim, f"to make room for {model.name}")
        if victims or not self._still_lacks(model):
            return
        if self._patient_until(model) > self.now:
            self._look_again(self._patient_until(model))
            return
        for victim in choose_victims(self._evictable(), memory, model.device, int(places)):
            view = self._view(victim)
            if view.leases:
                self._drain(view, model)
            else:
                self._let_go(view, f"to make room for {model.name}")

    def _still_lacks(self, model: ModelView) -> bool:
        short = model.device in self.free and self.free[model.device] + self.coming[model.device] < 0
        return short or self.places + self.coming_places < 0

    def _patient_until(self, model: ModelView) -> float:
        return (model.waiting_since or 0.0) + self.limits.patience

    def _idle(self) -> list[Occupant]:
        return [one for one in self._evictable() if not self._view(one.key).leases]

    def _evictable(self) -> list[Occupant]:
        """Models that may be let go, those in use included."""
        return [
            Occupant(m.key, m.device, m.size, self.now - m.last_use if not m.leases else 0.0, m.reload_cost, m.last_use)
            for m in self.present
            if m.phase == "ready"
            and not (m.pinned or m.foreign)
            and m.key not in self.plan.unload
            and m.key not in self.plan.drain
        ]

    def _view(self, key: Hashable) -> ModelView:
        return next(model for model in self.present if model.key == key)

    def _let_go_key(self, key: Hashable, reason: str) -> None:
        self._let_go(self._view(key), reason)

    def _let_go(self, model: ModelView, reason: str) -> None:
        self.plan.unload[model.key] = reason
        if not _goes(model):
            self._count_as_going(model)
            self._count_as_moving(model)

    def _drain(self, model: ModelView, wanted: ModelView) -> None:
        self.plan.drain[model.key] = f"{wanted.name} has waited for {self.now - (wanted.waiting_since or 0.0):.0f} s"
        self._count_as_going(model)

    def _count_as_going(self, model: ModelView) -> None:
        self.coming_places += not model.foreign
        if model.device in self.coming:
            self.coming[model.device] += model.size

    def _count_as_moving(self, model: ModelView) -> None:
        self.moving_places += not model.foreign
        if model.device in self.moving:
            self.moving[model.device] += model.size

    def _reserve(self, model: ModelView) -> None:
        self.places -= 1
        if model.device in self.free:
            self.free[model.device] -= model.size

    def _used(self, device: str) -> int:
        return sum(model.size for model in self.present if model.device == device)

    @staticmethod
    def _count(models: Iterable[ModelView]) -> int:
        return sum(not model.foreign for model in models)

    def _look_again(self, at: float) -> None:
        self.plan.next_at = min(self.plan.next_at, at)


def _kept_out(rivals: Sequence[ModelView]) -> str | None:
    kept = [rival for rival in rivals if rival.pinned or rival.foreign]
    return f"its server holds it in another way of loading, as {kept[0].name}, which stays" if kept else None


def _goes(model: ModelView) -> bool:
    return model.phase in {"draining", "unloading"}


def _moves(model: ModelView) -> bool:
    return model.phase in MOVING or (model.phase == "draining" and not model.leases)
