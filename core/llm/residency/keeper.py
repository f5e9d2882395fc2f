"""Carries out what the planner decides, and keeps the books: leases, those who wait, loads and unloads that run.

    absent ─plan→ loading ─ok→ ready ⇄ in use (leases > 0)
       ▲             │failed, or nobody wants it any more: absent
       └─ unloading ←(no lease left)─ draining ←─ ready

Between reading the books and writing them nothing is awaited, so no lock is needed: all of
it belongs to one event loop.
Each load and each unload has a task of its own; callers come and go without disturbing it.
"""

import asyncio
import math
import random
from collections.abc import Collection, Hashable, Iterable, Mapping
from copy import copy
from functools import partial
from typing import Final

from core.llm.common.clock import Clock, TimerHandle
from core.llm.common.events import EventBus
from core.llm.common.exceptions import ModelNotReady, ServiceStopping
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import ProgressCallback
from core.llm.providers.config.models.residency import ResidencyOptions
from core.llm.residency.moves import Moves
from core.llm.residency.planner import MOVING, plan
from core.llm.residency.refusals import never_room, no_room_in_time, queue_full
from core.llm.residency.registry import Registry
from core.llm.residency.resident import Resident
from core.llm.residency.waiter import Waiter

_STOPPING: Final = "the service is stopping: no model is loaded any more"
_MARGIN: Final = 0.1
"""Seconds before its deadline from which on a call is taken to have run out of time, not to have been given up."""


class Keeper:
    """The models that this application may have in memory. One for all configurations."""

    def __init__(self, clock: Clock, events: EventBus, rng: random.Random) -> None:
        self._clock = clock
        self._books = Registry(self, clock, rng)
        self._moves = Moves(self._books, clock, events, self.turn)
        self._timer: TimerHandle | None = None
        self._timer_at = math.inf
        self._restless = False
        """Whether somebody waits for a model, so that each lease that ends may make room."""
        self._stopping = self._closed = False

    # What is known.

    @property
    def options(self) -> ResidencyOptions:
        """The rules in force."""
        return self._books.options

    @property
    def residents(self) -> tuple[Resident, ...]:
        """Every model that is or may be in memory."""
        return tuple(self._books)

    def resident(self, ref: ModelRef, provider: object, options: ResidencyOptions) -> Resident | None:
        """The book of *ref*, opened when it is first asked for; `None` where its memory is not managed."""
        return self._books.book(ref, provider, options)

    def configure(self, options: ResidencyOptions, providers: Mapping[str, object]) -> None:
        """Follow *options* from now on, with the models of *providers*; see `Registry.configure`."""
        self._books.configure(options, providers)
        self.turn()

    def fits_beside(self, resident: Resident, others: Iterable[Resident]) -> bool:
        """Whether there is room for the model while all of *others* stay."""
        return self._books.fits_beside(resident, others)

    # Leases.

    def lease(self, resident: Resident) -> bool:
        """Take a lease if the model is ready, without waiting. Give it back with `release`."""
        if resident.phase != "ready":
            return False
        resident.leases += 1
        resident.used = True
        return True

    async def acquire(self, resident: Resident, *, until: float = math.inf, wait: float | None = None) -> None:
        """Take a lease, and wait until the model is ready. Give it back with `release`.

        Args:
            resident: the model.
            until: when the caller runs out of time; a load that is under way then goes on for those who come later.
            wait: seconds for which it may wait for room that others hold, `acquire_timeout` by default. Loads and
                unloads that run do not count, neither its own nor those before it.

        Raises:
            NoCapacity: there was no room in time; names who holds it.
            ModelTooLarge: there can be none.
            ModelQueueFull: too many calls wait for it.
            ModelLoadError: it cannot be loaded, or could not be a moment ago.
            ServiceStopping: no model is loaded any more.
        """
        if self.lease(resident):
            return
        self._refuse_at_once(resident)
        if len(resident.waiters) >= self._books.options.max_waiting:
            raise queue_full(resident)
        self._books.keep(resident)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seconds = self._books.options.acquire_timeout if wait is None else wait
        waiter = Waiter(self._clock, seconds, partial(self._waited_enough, resident, granted, seconds))
        resident.waiters[granted] = waiter
        try:
            self.turn()
            waiter.wait_for_room(lacking=resident.lacks_room)
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                # It was granted in the moment in which its caller left.
                self.release(resident)
            raise
        finally:
            waiter.end()
            resident.waiters.pop(granted, None)
            self._left(resident, load_goes_on=self._clock.monotonic() >= until - _MARGIN)

    def release(self, resident: Resident) -> None:
        """Give a lease back. Synchronous."""
        resident.leases -= 1
        if resident.leases:
            return
        resident.last_use = self._clock.monotonic()
        if self._restless or resident.phase != "ready" or resident.leaving or resident.ttl == 0.0:
            self.turn()
        elif resident.ttl is not None and resident.last_use + resident.ttl < self._timer_at:
            self._arm(resident.last_use + resident.ttl)

    def suspect(self, resident: Resident) -> None:
        """A call has learnt that the model may be gone: ask its server soon."""
        if not resident.owned:
            self._moves.look_soon()

    # Loading and unloading on request.

    def want(self, resident: Resident) -> None:
        """Load the model in the background, if it is not in memory."""
        resident.suspended, resident.leaving = False, resident.obsolete
        if resident.phase in {"absent", "unloading"} and resident.wanted_since is None:
            resident.wanted_since = self._clock.monotonic()
        self._books.keep(resident)
        self.turn()

    async def load(self, resident: Resident, progress: ProgressCallback | None = None, *, force: bool = True) -> None:
        """Return once the model is in memory. *force*: try now, however often it has failed.

        When the last who waits is cancelled, the load is stopped.

        Raises:
            ServiceStopping: the service stops; a load that no call waits for ends with it.
            ModelNotReady: the configuration has changed; there is another book for the model now, or none.
            LLMError: as `acquire`.
        """
        resident.suspended, resident.leaving = False, resident.obsolete
        if force:
            resident.failures.forget()
        if progress is not None:
            resident.listeners.append(progress)
        before = resident.loads
        try:
            # What was loaded may have to go at once, for calls that waited for its place: no reason to begin anew.
            while resident.phase != "ready" and (resident.loads == before or resident.obsolete):
                self._refuse_at_once(resident)
                if self._stopping:
                    raise ServiceStopping(_STOPPING)
                if resident.obsolete:
                    message = f"{resident.name} is loaded in another way by now, or not at all: it was edited meanwhile"
                    raise ModelNotReady(message, model=resident.name)
                if resident.phase == "draining":
                    resident.phase = "ready"
                    break
                try:
                    # A load for which there can never be room is refused before anything has begun.
                    await resident.next_change(partial(self.want, resident))
                except asyncio.CancelledError:
                    if not resident.watchers and not resident.pinned:
                        resident.wanted_since = None
                        self._left(resident, load_goes_on=False)
                    raise
        finally:
            if progress is not None:
                resident.listeners.remove(progress)

    async def unload(self, resident: Resident, drain: float | None = None) -> None:
        """Take the model out of memory; calls that use it may end first, for *drain* seconds, then they are cut.

        Returns once it has gone. Its next call, or `load`, brings it back; its pin does not.

        Raises:
            ProviderError: the server does not let it go.
        """
        resident.suspended = True
        resident.withdraw()
        seconds = self._books.options.drain_timeout if drain is None else drain
        timer = None
        if seconds != math.inf:
            timer = self._clock.call_at(self._clock.monotonic() + seconds, partial(self._moves.force_out, resident))
        try:
            if resident.phase == "loading":
                resident.call_off()
            while resident.phase != "absent" and (resident.phase != "loading" or not resident.waiters):
                if resident.phase == "ready":
                    self._moves.drain(resident, "unloaded by hand")
                    self.turn()
                await resident.next_change()
        finally:
            if timer is not None:
                timer.cancel()

    def leave(self, resident: Resident) -> None:
        """Let the model go as soon as no call uses it; new calls are not refused meanwhile."""
        resident.leaving = resident.phase != "absent"
        resident.withdraw()
        self.turn()

    def pin(self, resident: Resident, *, configured: bool = False) -> None:
        """Keep the model in memory; loads it when it is not there."""
        resident.pinned_by_config = resident.pinned_by_config or configured
        resident.pinned, resident.leaving = True, False
        resident.ask_to_stay()
        self.want(resident)

    def unpin(self, resident: Resident) -> None:
        """Let the rules decide about it again."""
        resident.pinned = resident.pinned_by_config = False
        resident.ask_to_stay()
        if not resident.watchers and not resident.waiters:
            resident.wanted_since = None
        self.turn()

    # The end.

    def begin_stop(self) -> None:
        """Load nothing more for those who do not wait; calls that are running still get their models."""
        self._stopping = True
        for resident in self._books:
            resident.pinned = False
            resident.withdraw()
            if not resident.waiters and resident.phase == "loading":
                resident.call_off()

    async def close(self) -> None:
        """Refuse everything and end all that runs. Models on shared servers stay; workers end with their providers."""
        self.begin_stop()
        self._closed = True
        self._arm(math.inf)
        for resident in self._books:
            resident.fail(ServiceStopping(_STOPPING))
        await self._moves.stop()

    # One turn: decide, then begin what was decided.

    def turn(self) -> None:
        """Look at the books and do what is due. Synchronous and idempotent."""
        if self._closed:
            return
        now = self._clock.monotonic()
        for resident in self._books:
            if resident.pinned and not resident.suspended and resident.phase == "absent" and not self._stopping:
                resident.wanted_since = resident.wanted_since or now
        foreign = self._books.options.evict_foreign
        views = [resident.view(evict_foreign=foreign) for resident in self._books]
        todo = plan(views, self._books.limits, now)
        for key, reason in todo.refused.items():
            self._refused(self._books[key], reason)
        for key, reason in todo.drain.items():
            self._moves.drain(self._books[key], reason)
        for key, reason in todo.unload.items():
            self._moves.unload(self._books[key], reason)
        for key in todo.load:
            self._moves.load(self._books[key])
        self._let_time_run(todo.soon)
        self._restless = any(view.waiting_since is not None and view.phase == "absent" for view in views)
        self._arm(todo.next_at)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = at
        if at != math.inf:
            self._timer = self._clock.call_at(at, self._rung)

    def _rung(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self.turn()

    # Those who wait.

    def _refuse_at_once(self, resident: Resident) -> None:
        if self._closed:
            raise ServiceStopping(_STOPPING)
        failures, now = resident.failures, self._clock.monotonic()
        if resident.phase != "absent" or now >= failures.not_before:
            return
        if failures.error is not None:
            raise copy(failures.error)
        wait = failures.not_before - now
        if wait > self._books.options.patience:
            message = f"the local model {resident.name} has crashed and is started again in {wait:.1f} s"
            raise ModelNotReady(message, model=resident.name)

    def _let_time_run(self, soon: Collection[Hashable]) -> None:
        """Count the time of those who wait for room, and not that of those who wait for a load or an unload."""
        for resident in self._books:
            lacking = not (resident.key in soon or resident.incoming or resident.phase in MOVING)
            if lacking != resident.lacks_room:
                resident.lacks_room = lacking
                for waiter in resident.waiters.values():
                    waiter.wait_for_room(lacking=lacking)

    def _waited_enough(self, resident: Resident, granted: "asyncio.Future[None]", seconds: float) -> None:
        if granted.done() or resident.incoming:
            return
        granted.set_exception(no_room_in_time(resident, self._books.holders(resident), seconds))

    def _refused(self, resident: Resident, reason: str) -> None:
        error = never_room(resident, self._books.limits.budget.get(resident.device), reason)
        resident.wanted_since = None
        if resident.pinned:
            resident.failures.load_failed(error, self._clock.monotonic())
        resident.fail(error)

    def _left(self, resident: Resident, *, load_goes_on: bool) -> None:
        """One who waited has gone, whichever way."""
        if resident.waiters or resident.wanted_since is not None or resident.phase != "loading":
            return
        if load_goes_on or not resident.owned:
            resident.wanted_since = self._clock.monotonic()
        else:
            resident.call_off()
