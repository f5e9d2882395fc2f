"""One model that may be in memory: where it is in its life, who uses it, and who waits for it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from copy import copy
from typing import TYPE_CHECKING, Literal

from core.llm.common.exceptions import LLMError
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import ModelHost, ModelState, Progress, ProgressCallback
from core.llm.providers.base.residency import Keepable, Placement, Watchable
from core.llm.residency.failures import FailureLog
from core.llm.residency.planner import ModelPhase, ModelView
from core.llm.residency.residence import Residence
from core.llm.residency.waiter import Waiter

if TYPE_CHECKING:
    from core.llm.residency.keeper import Keeper


class Resident:
    """The book-keeping of one identity. Belongs to its keeper, which is the only one to change it."""

    __slots__ = (
        "device",
        "failures",
        "handle",
        "held",
        "incoming",
        "keeper",
        "key",
        "lacks_room",
        "last_use",
        "leases",
        "leaving",
        "listeners",
        "load_seconds",
        "loads",
        "measured",
        "obsolete",
        "ours",
        "phase",
        "pinned",
        "pinned_by_config",
        "placement",
        "progress",
        "reason",
        "ref",
        "size_override",
        "suspended",
        "task",
        "ttl",
        "used",
        "waiters",
        "wanted_since",
        "warm_up",
        "watchers",
    )

    def __init__(
        self, ref: ModelRef, handle: ModelHost, placement: Placement, keeper: "Keeper", rng: random.Random
    ) -> None:
        self.ref = ref
        self.keeper = keeper
        self.handle = handle
        self.placement = placement
        self.key: Hashable = placement.identity
        self.device = placement.device
        self.size_override: int | None = None
        self.phase: ModelPhase = "absent"
        self.leases = 0
        self.waiters: dict[asyncio.Future[None], Waiter] = {}
        """Calls that wait, by what tells each that it may begin."""
        self.lacks_room = False
        """Whether calls, its own or those of others, hold what it needs; the time of its waiters runs only then."""
        self.watchers: set[asyncio.Future[None]] = set()
        """Those who wait for the end of what is going on (a load, an unload) without wanting to use it."""
        self.listeners: list[ProgressCallback] = []
        self.wanted_since: float | None = None
        """Since when it is to be loaded although no call waits: preloaded, pinned, loaded by hand."""
        self.pinned = False
        self.held = 0
        """Swaps that need it to stay until they are over."""
        self.suspended = False
        """True after it was unloaded by hand: it is not brought back by its pin."""
        self.leaving = False
        """It goes as soon as no call uses it."""
        self.obsolete = False
        """No configuration knows it any more: once it has gone it is forgotten."""
        self.incoming = False
        """It takes the place of another one, for which those who wait for it have to wait as well."""
        self.warm_up: Callable[[], Awaitable[None]] | None = None
        """Run at the end of its load, before anyone gets it; raises where it is no good."""
        self.pinned_by_config = False
        self.last_use = 0.0
        self.used = False
        """Whether any call has used it since it was loaded."""
        self.ours = True
        """Whether we have loaded it; on a shared server others may have."""
        self.measured: int | None = None
        self.loads = 0
        self.load_seconds: float | None = None
        self.progress: Progress | None = None
        self.failures = FailureLog(rng)
        self.reason = ""
        self.ttl: float | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """`provider/model`."""
        return str(self.ref)

    @property
    def owned(self) -> bool:
        """Whether the memory is this application's own."""
        return self.placement.owned

    @property
    def size(self) -> int:
        """Bytes that it takes, as far as is known."""
        return self.size_override or self.measured or self.placement.size_bytes or 0

    def settle(self, phase: Literal["absent", "ready"]) -> None:
        """What was going on has ended."""
        self.phase = phase
        self.task = None
        if phase == "absent":
            self.used, self.leaving = False, self.obsolete

    def call_off(self) -> None:
        """Stop what is going on. Once is enough: a second time would cut the clean-up short."""
        if self.task is not None and not self.task.cancelling():
            self.task.cancel()

    def grant(self) -> None:
        """Give everyone who waits a lease."""
        for granted in tuple(self.waiters):
            if not granted.done():
                self.leases += 1
                self.used = True
                granted.set_result(None)

    def fail(self, error: LLMError) -> None:
        """Tell everyone who waits that it is in vain, each by an error of its own."""
        for granted in tuple(self.waiters):
            if not granted.done():
                granted.set_exception(copy(error))
        self.fail_watchers(error)

    def fail_watchers(self, error: LLMError) -> None:
        """Tell those who wait for the end of what is going on."""
        watchers, self.watchers = self.watchers, set()
        for watcher in watchers:
            if not watcher.done():
                watcher.set_exception(copy(error))

    def announce(self) -> None:
        """Wake those who wait for the end of what was going on."""
        watchers, self.watchers = self.watchers, set()
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    def withdraw(self) -> None:
        """Nothing wants it ahead of calls any more. Whoever waits for its load by hand looks again, and asks anew."""
        self.wanted_since = None
        if self.phase == "absent":
            self.announce()

    async def next_change(self, begin: Callable[[], None] | None = None) -> None:
        """Return at the end of what is going on, or of what *begin* begins; raises what it failed with."""
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.watchers.add(watcher)
        try:
            if begin is not None:
                begin()
            await watcher
        finally:
            self.watchers.discard(watcher)

    def adopt(self, ref: ModelRef, handle: ModelHost, placement: Placement) -> None:
        """The configuration in force knows it, by *ref* and at *handle*."""
        self.ref, self.handle, self.placement = ref, handle, placement
        if self.obsolete:
            self.leaving = self.obsolete = False

    def ask_to_stay(self) -> None:
        """Have its server keep it for as long as the rules do."""
        if isinstance(self.handle, Keepable):
            self.handle.keep_in_memory(self.ref.model, "never" if self.pinned else self.ttl)

    def gone_without_notice(self) -> bool:
        """Whether it is taken to be in memory and the provider knows better."""
        handle = self.handle
        return isinstance(handle, Watchable) and not handle.in_memory(self.ref.model)

    def view(self, *, evict_foreign: bool) -> ModelView:
        """What the planner has to know."""
        first = next(iter(self.waiters.values()), None)  # they stand in the order in which they came
        since = None if first is None else first.since
        if self.wanted_since is not None:
            since = self.wanted_since if since is None else min(since, self.wanted_since)
        # `immediate` means: with its last call. What was loaded ahead stays until its first.
        ttl = None if self.ttl == 0.0 and not self.used else self.ttl
        return ModelView(
            self.key,
            self.name,
            self.phase,
            self.device,
            self.size,
            self.leases,
            self.last_use,
            since,
            self.failures.not_before,
            self.held > 0 or (self.pinned and not self.suspended),
            not self.ours and not evict_foreign,
            self.leaving,
            ttl,
            self.load_seconds or 0.0,
            self.placement.slot,
        )

    def state(self) -> ModelState:
        """Its state in the words of providers."""
        if self.phase == "absent":
            return "failed" if self.failures.error is not None else "unloaded"
        if self.phase == "ready" and self.leases:
            return "in_use"
        return self.phase

    def residence(self, now: float) -> Residence:
        """A picture of it, for people."""
        error = self.failures.error
        there = self.phase != "absent"
        return Residence(
            self.name,
            self.state(),
            self.size or None,
            self.leases,
            len(self.waiters),
            now - self.last_use if self.phase == "ready" and not self.leases else None,
            self.device,
            self.pinned,
            self.owned,
            there and self.ours,
            self.progress,
            self.loads,
            self.load_seconds,
            str(error) if error is not None else self.reason,
        )
