"""Which models there are books for, by what decides how each is loaded, and which rules hold for them."""

import random
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from core.llm.common.clock import Clock
from core.llm.common.exceptions import LLMError
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import ModelHost
from core.llm.providers.base.residency import Placed, Placement
from core.llm.providers.config.models.residency import ResidencyOptions
from core.llm.residency.planner import Limits
from core.llm.residency.resident import Resident

if TYPE_CHECKING:
    from core.llm.residency.keeper import Keeper


class Registry:
    """The books. What is loaded outlives the configuration that it was loaded by."""

    def __init__(self, keeper: "Keeper", clock: Clock, rng: random.Random) -> None:
        self._keeper = keeper
        self._clock = clock
        self._rng = rng
        self._residents: dict[Hashable, Resident] = {}
        self.options = ResidencyOptions()
        """The rules in force."""
        self.limits = Limits()

    def __iter__(self) -> Iterator[Resident]:
        return iter(tuple(self._residents.values()))

    def __getitem__(self, key: Hashable) -> Resident:
        return self._residents[key]

    def __contains__(self, key: Hashable) -> bool:
        return key in self._residents

    def book(self, ref: ModelRef, provider: object, options: ResidencyOptions) -> Resident | None:
        """The book of *ref*, opened when it is first asked for; `None` where its memory is not managed."""
        if not isinstance(provider, ModelHost):
            return None
        placement = placement_of(ref, provider)
        if placement is None or not (placement.owned or options.model_fields_set):
            return None
        resident = self._residents.get(placement.identity)
        if resident is None:
            resident = self.open(ref, provider, placement, options)
        elif resident.obsolete:
            resident.adopt(ref, provider, placement)
        return resident

    def open(
        self, ref: ModelRef, handle: ModelHost, placement: Placement, options: ResidencyOptions | None = None
    ) -> Resident:
        """A new book."""
        resident = Resident(ref, handle, placement, self._keeper, self._rng)
        self._residents[placement.identity] = resident
        self._apply(resident, options or self.options)
        return resident

    def keep(self, resident: Resident) -> None:
        """Put a book back that may have been forgotten while somebody still held it."""
        self._residents.setdefault(resident.key, resident)

    def forget(self, resident: Resident) -> None:
        """Close a book."""
        self._residents.pop(resident.key, None)

    def configure(self, options: ResidencyOptions, providers: Mapping[str, object]) -> None:
        """Follow *options* from now on, with the models of *providers*.

        What is loaded as before stays as it is. A model that is to be loaded in another way is loaded anew in the
        background while the old one serves the calls that began on it, and one that nobody configures any more leaves
        as soon as it is idle.
        """
        self.options = options
        self.limits = Limits(
            options.max_loaded, dict(options.memory_budget), options.max_parallel_loads, options.patience
        )
        for resident in self:
            provider = providers.get(resident.ref.provider)
            placement = placement_of(resident.ref, provider) if isinstance(provider, ModelHost) else None
            if placement is None or not isinstance(provider, ModelHost):
                self._retire(resident)
            elif placement.identity == resident.key:
                resident.adopt(resident.ref, provider, placement)
            elif placement.owned:
                self._succeed(resident, provider, options)
            elif placement.identity in self:
                # Another provider has this very thing in memory, or in use: one book is enough for both.
                self._retire(resident)
            else:
                # A server holds one of a name: with the next call it loads that one in the new way.
                del self._residents[resident.key]
                resident.key = placement.identity
                self._residents[resident.key] = resident
                resident.handle, resident.placement = provider, placement
            self._apply(resident, options)

    def _succeed(self, old: Resident, provider: ModelHost, options: ResidencyOptions) -> None:
        there = old.phase in {"ready", "loading"} or old.wanted_since is not None
        self._retire(old)
        new = self.book(old.ref, provider, options)
        if new is not None and there:
            new.wanted_since = self._clock.monotonic()

    def _retire(self, resident: Resident) -> None:
        if resident.ours or resident.phase == "absent":
            resident.leaving = resident.obsolete = True
            resident.pinned = False
            resident.withdraw()
            self.forget_if_done(resident)

    def _apply(self, resident: Resident, options: ResidencyOptions) -> None:
        ref, devices = resident.ref, options.devices
        resident.ttl = options.ttl
        resident.size_override = options.sizes.get(str(ref))
        resident.device = devices.get(str(ref)) or devices.get(ref.provider) or resident.placement.device
        resident.ask_to_stay()

    def forget_if_done(self, resident: Resident) -> None:
        """Close the book of a model that no configuration knows, once nothing is left of it."""
        idle = resident.phase == "absent" and not (resident.leases or resident.waiters or resident.watchers)
        if resident.obsolete and idle and resident.wanted_since is None:
            self._residents.pop(resident.key, None)

    def fits_beside(self, resident: Resident, others: Iterable[Resident]) -> bool:
        """Whether there is room for the model while all of *others* stay."""
        stays = {id(one) for one in others}
        fixed = [
            one
            for one in self
            if one is not resident and one.phase != "absent" and (one.pinned or not one.ours or id(one) in stays)
        ]
        limits = self.limits
        if limits.max_loaded is not None and sum(one.ours for one in fixed) >= limits.max_loaded:
            return False
        budget = limits.budget.get(resident.device)
        taken = sum(one.size for one in fixed if one.device == resident.device)
        return budget is None or taken + resident.size <= budget

    def rivals(self, resident: Resident) -> list[Resident]:
        """The same model in memory in another way of loading, where there can be only one."""
        slot = resident.placement.slot
        return [one for one in self.holders(resident) if slot is not None and one.placement.slot == slot]

    def holders(self, resident: Resident) -> list[Resident]:
        """Who is in memory beside *resident*."""
        return [one for one in self if one is not resident and one.phase != "absent"]


def placement_of(ref: ModelRef, provider: ModelHost) -> Placement | None:
    """Where the model of *ref* lies; `None` where the provider has no such model."""
    if not isinstance(provider, Placed):
        return Placement((ref.provider, ref.model), owned=False)
    try:
        return provider.placement(ref.model)
    except LLMError:
        return None
