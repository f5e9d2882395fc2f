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
from collections.abc import Hashable, Iterable, Mapping
from copy import copy
from functools import partial
from typing import Final

from core.llm.common.clock import Clock, TimerHandle
from core.llm.common.events import EventBus, ModelEvent
from core.llm.common.exceptions import (
    LLMError,
    ModelNotReady,
    ModelQueueFull,
    ModelTooLarge,
    NoCapacity,
    ProviderError,
    ServiceStopping,
    WorkerCrashed,
)
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import ModelHost, ModelStatus, ProgressCallback
from core.llm.providers.base.residency import Placed, Placement
from core.llm.providers.config.models.residency import ResidencyOptions
from core.llm.residency.loading import is_out_of_memory, load_once
from core.llm.residency.planner import Limits, plan
from core.llm.residency.reconcile import Reconciler
from core.llm.residency.resident import Resident

_MARGIN: Final = 0.1
"""Seconds before its deadline from which on a call is taken to have run out of time, not to have been given up."""
MEMORY_PATIENCE: Final = 5.0
"""Seconds that memory gets to come back after a model could not be loaded for lack of it."""


class Keeper:
    """The models that this application may have in memory. One for all configurations."""

    def __init__(self, clock: Clock, events: EventBus, rng: random.Random) -> None:
        self._clock = clock
        self._events = events
        self.rng = rng
        self._residents: dict[Hashable, Resident] = {}
        self._options = ResidencyOptions()
        self._limits = Limits()
        self._timer: TimerHandle | None = None
        self._timer_at = math.inf
        self._restless = False
        """Whether somebody waits for a model, so that each lease that ends may make room."""
        self._stopping = self._closed = False
        self._reconciler = Reconciler(self, clock)
        self._subscription = events.subscribe(self._on_event, ModelEvent)

    # What is known.

    @property
    def options(self) -> ResidencyOptions:
        """The rules in force."""
        return self._options

    @property
    def residents(self) -> tuple[Resident, ...]:
        """Every model that is or may be in memory."""
        return tuple(self._residents.values())

    def resident(self, ref: ModelRef, provider: object, options: ResidencyOptions) -> Resident | None:
        """The book of *ref*, opened when it is first asked for; `None` where its memory is not managed."""
        if not isinstance(provider, ModelHost):
            return None
        placement = placement_of(ref, provider)
        if placement is None or not (placement.owned or options.model_fields_set):
            return None
        resident = self._residents.get(placement.identity)
        if resident is None:
            resident = self._residents[placement.identity] = Resident(ref, provider, placement, self)
            self._apply(resident, options)
        return resident

    def configure(self, options: ResidencyOptions, providers: Mapping[str, object]) -> None:
        """Follow *options* from now on, with the models of *providers*.

        What is loaded as before stays as it is. A model that is to be loaded in another way is loaded anew in the
        background while the old one serves the calls that began on it, and one that nobody configures any more leaves
        as soon as it is idle.
        """
        self._options = options
        self._limits = Limits(
            options.max_loaded, dict(options.memory_budget), options.max_parallel_loads, options.patience
        )
        for resident in self.residents:
            provider = providers.get(resident.ref.provider)
            placement = placement_of(resident.ref, provider) if isinstance(provider, ModelHost) else None
            if placement is None or not isinstance(provider, ModelHost):
                self._retire(resident)
            elif placement.identity == resident.key:
                resident.handle, resident.placement = provider, placement
                if resident.obsolete:
                    resident.leaving = resident.obsolete = False
            elif placement.owned:
                self._succeed(resident, provider, options)
            else:
                # A server holds one of a name: with the next call it loads that one in the new way.
                del self._residents[resident.key]
                resident.key = placement.identity
                self._residents[resident.key] = resident
                resident.handle, resident.placement = provider, placement
            self._apply(resident, options)
        self.turn()

    def _succeed(self, old: Resident, provider: ModelHost, options: ResidencyOptions) -> None:
        there = old.phase in {"ready", "loading"} or old.wanted_since is not None
        self._retire(old)
        new = self.resident(old.ref, provider, options)
        if new is not None and there:
            new.wanted_since = self._clock.monotonic()

    def _retire(self, resident: Resident) -> None:
        if resident.ours or resident.phase == "absent":
            resident.leaving = resident.obsolete = True
            resident.wanted_since, resident.pinned = None, False
            self._drop_if_done(resident)

    def _apply(self, resident: Resident, options: ResidencyOptions) -> None:
        ref, devices = resident.ref, options.devices
        resident.ttl = options.ttl
        resident.size_override = options.sizes.get(str(ref))
        resident.device = devices.get(str(ref)) or devices.get(ref.provider) or resident.placement.device

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
            wait: seconds for which it may wait for room, `acquire_timeout` by default; loading does not count.

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
        if len(resident.waiters) >= self._options.max_waiting:
            raise ModelQueueFull(
                f"{len(resident.waiters)} calls wait for the local model {resident.name} already: send fewer at once, "
                "give the alias a fallback, or raise residency.max_waiting",
                model=resident.name,
            )
        self._residents.setdefault(resident.key, resident)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        now = self._clock.monotonic()
        seconds = self._options.acquire_timeout if wait is None else wait
        timer = self._clock.call_at(now + seconds, partial(self._waited_enough, resident, granted, seconds))
        resident.waiters[granted] = now
        try:
            self.turn()
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                # It was granted in the moment in which its caller left.
                self.release(resident)
            raise
        finally:
            timer.cancel()
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
            self._reconciler.soon()

    # Loading and unloading on request.

    def want(self, resident: Resident) -> None:
        """Load the model in the background, if it is not in memory."""
        resident.suspended = False
        if resident.phase in {"absent", "unloading"} and resident.wanted_since is None:
            resident.wanted_since = self._clock.monotonic()
        self._residents.setdefault(resident.key, resident)
        self.turn()

    async def load(
        self, resident: Resident, progress: ProgressCallback | None = None, *, force: bool = True, keep: bool = False
    ) -> None:
        """Return once the model is in memory. *force*: try now, however often it has failed.

        When the last who waits is cancelled, the load is stopped, unless *keep*.

        Raises:
            LLMError: as `acquire`.
        """
        resident.suspended = False
        if force:
            resident.failures.forget()
        if progress is not None:
            resident.listeners.append(progress)
        try:
            while resident.phase != "ready":
                self._refuse_at_once(resident)
                if resident.phase == "draining":
                    resident.phase = "ready"
                    break
                self.want(resident)
                try:
                    await self._next_change(resident)
                except asyncio.CancelledError:
                    if not keep and not resident.watchers and not resident.pinned:
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
        resident.suspended, resident.wanted_since = True, None
        seconds = self._options.drain_timeout if drain is None else drain
        timer = None
        if seconds != math.inf:
            timer = self._clock.call_at(self._clock.monotonic() + seconds, partial(self._force_out, resident))
        try:
            if resident.phase == "loading" and resident.task is not None:
                resident.task.cancel()
            while resident.phase != "absent" and (resident.phase != "loading" or not resident.waiters):
                if resident.phase == "ready":
                    self._drain(resident, "unloaded by hand")
                    self.turn()
                await self._next_change(resident)
        finally:
            if timer is not None:
                timer.cancel()

    def leave(self, resident: Resident) -> None:
        """Let the model go as soon as no call uses it; new calls are not refused meanwhile."""
        resident.leaving, resident.wanted_since = True, None
        self.turn()

    def pin(self, resident: Resident, *, configured: bool = False) -> None:
        """Keep the model in memory; loads it when it is not there."""
        resident.pinned_by_config = resident.pinned_by_config or configured
        resident.pinned, resident.leaving = True, False
        self.want(resident)

    def unpin(self, resident: Resident) -> None:
        """Let the rules decide about it again."""
        resident.pinned = resident.pinned_by_config = False
        if not resident.watchers and not resident.waiters:
            resident.wanted_since = None
        self.turn()

    def fits_beside(self, resident: Resident, others: Iterable[Resident]) -> bool:
        """Whether there is room for the model while all of *others* stay."""
        stays = {id(one) for one in others}
        fixed = [
            one
            for one in self._residents.values()
            if one is not resident and one.phase != "absent" and (one.pinned or not one.ours or id(one) in stays)
        ]
        limits = self._limits
        if limits.max_loaded is not None and sum(one.ours for one in fixed) >= limits.max_loaded:
            return False
        budget = limits.budget.get(resident.device)
        taken = sum(one.size for one in fixed if one.device == resident.device)
        return budget is None or taken + resident.size <= budget

    # The end.

    def begin_stop(self) -> None:
        """Load nothing more for those who do not wait; calls that are running still get their models."""
        self._stopping = True
        for resident in self.residents:
            resident.wanted_since, resident.pinned = None, False
            if not resident.waiters and resident.phase == "loading" and resident.task is not None:
                resident.task.cancel()

    async def close(self) -> None:
        """Refuse everything and end all that runs. Models on shared servers stay; workers end with their providers."""
        self.begin_stop()
        self._closed = True
        self._subscription.close()
        self._arm(math.inf)
        for resident in self.residents:
            error = ServiceStopping("the service is stopping: no model is loaded any more")
            self._fail(resident, error)
        await self._reconciler.stop()
        tasks = [resident.task for resident in self.residents if resident.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # One turn: decide, then begin what was decided.

    def turn(self) -> None:
        """Look at the books and do what is due. Synchronous and idempotent."""
        if self._closed:
            return
        now = self._clock.monotonic()
        for resident in self._residents.values():
            if resident.pinned and not resident.suspended and resident.phase == "absent" and not self._stopping:
                resident.wanted_since = resident.wanted_since or now
        foreign = self._options.evict_foreign
        views = [resident.view(evict_foreign=foreign) for resident in self._residents.values()]
        todo = plan(views, self._limits, now)
        for key, reason in todo.refused.items():
            self._refused(self._residents[key], reason)
        for key, reason in todo.drain.items():
            self._drain(self._residents[key], reason)
        for key, reason in todo.unload.items():
            self._begin_unload(self._residents[key], reason)
        for key in todo.load:
            resident = self._residents[key]
            resident.phase, resident.reason = "loading", ""
            resident.task = asyncio.get_running_loop().create_task(self._load(resident), name=f"load {resident.name}")
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

    # Loads.

    async def _load(self, resident: Resident) -> None:
        begun = self._clock.monotonic()
        try:
            status = await self._load_with_room(resident)
        except asyncio.CancelledError:
            self._settled(resident, "absent")
            if not self._closed:
                self._announce(resident)
                self._drop_if_done(resident)
                asyncio.get_running_loop().call_soon(self.turn)
            raise
        except LLMError as error:
            resident.failures.load_failed(error, self._clock.monotonic())
            resident.wanted_since = None
            self._settled(resident, "absent")
            self._fail(resident, error)
        else:
            self._loaded(resident, status, begun)
        self._drop_if_done(resident)
        self.turn()

    async def _load_with_room(self, resident: Resident) -> ModelStatus:
        if not resident.owned:
            there = await resident.handle.model_status(resident.ref.model)
            resident.ours = there.state not in {"ready", "in_use"} or (resident.ours and resident.loads > 0)
        try:
            return await self._load_warm(resident)
        except LLMError as error:
            if not is_out_of_memory(error) or not self._make_all_room(resident):
                raise
        # The books were wrong about what fits. Everything idle goes, memory gets a moment to come back, once.
        await self._room_made(resident)
        return await self._load_warm(resident)

    async def _load_warm(self, resident: Resident) -> ModelStatus:
        status = await load_once(resident, self._options, self._clock, self._events)
        if resident.warm_up is not None:
            try:
                await resident.warm_up()
            except BaseException:
                await resident.handle.unload_model(resident.ref.model)
                raise
        return status

    def _make_all_room(self, resident: Resident) -> bool:
        idle = [
            one
            for one in self._residents.values()
            if one.device == resident.device and one.phase == "ready" and not (one.leases or one.pinned or not one.ours)
        ]
        for one in idle:
            self._begin_unload(one, f"{resident.name} did not fit into memory")
        return bool(idle)

    async def _room_made(self, resident: Resident) -> None:
        tasks = [
            one.task
            for one in self._residents.values()
            if one.device == resident.device and one.phase == "unloading" and one.task is not None
        ]
        deadline = self._clock.monotonic() + MEMORY_PATIENCE
        while any(not task.done() for task in tasks) and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.05)

    def _loaded(self, resident: Resident, status: ModelStatus, begun: float) -> None:
        now = self._clock.monotonic()
        resident.failures.loaded()
        resident.loads += 1
        resident.load_seconds = now - begun
        resident.measured = status.memory_bytes or resident.measured
        resident.wanted_since, resident.last_use, resident.used = None, now, False
        self._settled(resident, "ready")
        for granted in tuple(resident.waiters):
            if not granted.done():
                resident.leases += 1
                resident.used = True
                granted.set_result(None)
        self._announce(resident)
        if not resident.owned:
            self._reconciler.begin()

    # Unloads.

    def _drain(self, resident: Resident, reason: str) -> None:
        """No new leases; the next turn unloads it once the last one has ended."""
        resident.phase, resident.reason = "draining", reason
        self._tell(resident, "draining", reason)

    def _begin_unload(self, resident: Resident, reason: str) -> None:
        resident.phase, resident.reason = "unloading", reason
        self._tell(resident, "unloading", reason)
        work = self._unload(resident)
        resident.task = asyncio.get_running_loop().create_task(work, name=f"unload {resident.name}")

    async def _unload(self, resident: Resident) -> None:
        try:
            await resident.handle.unload_model(resident.ref.model)
        except asyncio.CancelledError:
            self._settled(resident, "absent")
            raise
        except LLMError as error:
            self._not_unloaded(resident, error)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises must not end the keeping of the books
            failure = ProviderError("unknown", f"its provider raised {type(error).__name__}", code="provider_defect")
            self._not_unloaded(resident, failure.at(*resident.ref))
        else:
            self._settled(resident, "absent")
            self._announce(resident)
        self._drop_if_done(resident)
        self.turn()

    def _not_unloaded(self, resident: Resident, error: LLMError) -> None:
        unreachable = isinstance(error, ProviderError) and error.type == "network_error"
        if unreachable or resident.gone_without_notice():
            self._settled(resident, "absent")
            self._announce(resident)
            return
        # Somebody else holds it: it is not tried again and again.
        self._settled(resident, "ready")
        resident.ours, resident.reason = False, str(error)
        self._fail_watchers(resident, error)

    def _force_out(self, resident: Resident) -> None:
        if resident.phase == "draining":
            self._begin_unload(resident, "its calls did not end in time")

    # What others do.

    def found(self, resident: Resident, status: ModelStatus | None) -> None:
        """A server says that the model is in memory (*status*), or that it is not."""
        if resident.task is not None:
            return
        if status is not None:
            resident.measured = status.memory_bytes or resident.measured
            if resident.phase == "absent":
                resident.ours = False
                resident.last_use = self._clock.monotonic()
                self._settled(resident, "ready")
                self._tell(resident, "ready", "loaded by somebody else")
        elif resident.phase == "ready" and not resident.leases:
            self._settled(resident, "absent")
            self._tell(resident, "unloaded", "its server has let it go")
            if not resident.ours and not resident.loads:
                self._residents.pop(resident.key, None)
            resident.ours = True

    def found_foreign(self, handle: ModelHost, ref: ModelRef, status: ModelStatus) -> None:
        """A server holds a model that no call of ours has asked for."""
        placement = placement_of(ref, handle)
        if placement is not None and placement.identity not in self._residents:
            resident = self._residents[placement.identity] = Resident(ref, handle, placement, self)
            self._apply(resident, self._options)
            self.found(resident, status)

    def _on_event(self, event: object) -> None:
        if not isinstance(event, ModelEvent) or event.kind != "crash":
            return
        for resident in self.residents:
            there = resident.phase in {"ready", "draining"}
            if resident.name == event.model and there and resident.gone_without_notice():
                crash = WorkerCrashed(event.message or "its process has gone", model=resident.name)
                resident.failures.crashed(crash, self._clock.monotonic())
                self._settled(resident, "absent")
                self._announce(resident)
                if not self._closed:
                    asyncio.get_running_loop().call_soon(self.turn)

    # Those who wait.

    def _refuse_at_once(self, resident: Resident) -> None:
        if self._closed:
            raise ServiceStopping("the service is stopping: no model is loaded any more")
        failures, now = resident.failures, self._clock.monotonic()
        if resident.phase != "absent" or now >= failures.not_before:
            return
        if failures.error is not None:
            raise copy(failures.error)
        wait = failures.not_before - now
        if wait > self._options.patience:
            message = f"the local model {resident.name} has crashed and is started again in {wait:.1f} s"
            raise ModelNotReady(message, model=resident.name)

    def _waited_enough(self, resident: Resident, granted: "asyncio.Future[None]", seconds: float) -> None:
        if granted.done() or resident.incoming or resident.phase == "loading":
            return
        holders = ", ".join(
            f"{one.name} ({one.leases} calls{', pinned' if one.pinned else ''})" for one in self._holders(resident)
        )
        granted.set_exception(
            NoCapacity(
                f"no room for the local model {resident.name} within {seconds:g} s. In memory: {holders or 'nothing'}. "
                "Raise residency.max_loaded or memory_budget, or give the alias a fallback",
                model=resident.name,
            )
        )

    def _holders(self, resident: Resident) -> list[Resident]:
        return [one for one in self._residents.values() if one is not resident and one.phase != "absent"]

    def _refused(self, resident: Resident, reason: str) -> None:
        budget = self._limits.budget.get(resident.device)
        error: LLMError
        if budget is not None and resident.size > budget:
            error = ModelTooLarge(
                f"the local model {resident.name} needs {resident.size} bytes and the whole budget of "
                f"{resident.device!r} is {budget}: raise residency.memory_budget, or configure a smaller model",
                model=resident.name,
                need=resident.size,
                budget=budget,
            )
        else:
            error = NoCapacity(f"no room for the local model {resident.name}: {reason}", model=resident.name)
        resident.wanted_since = None
        if resident.pinned:
            resident.failures.load_failed(error, self._clock.monotonic())
        self._fail(resident, error)

    def _fail(self, resident: Resident, error: LLMError) -> None:
        for granted in tuple(resident.waiters):
            if not granted.done():
                granted.set_exception(copy(error))
        self._fail_watchers(resident, error)

    def _fail_watchers(self, resident: Resident, error: LLMError) -> None:
        watchers, resident.watchers = resident.watchers, set()
        for watcher in watchers:
            if not watcher.done():
                watcher.set_exception(copy(error))

    def _announce(self, resident: Resident) -> None:
        """Wake those who wait for what was going on."""
        watchers, resident.watchers = resident.watchers, set()
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    async def _next_change(self, resident: Resident) -> None:
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        resident.watchers.add(watcher)
        try:
            await watcher
        finally:
            resident.watchers.discard(watcher)

    def _left(self, resident: Resident, *, load_goes_on: bool) -> None:
        """One who waited has gone, whichever way."""
        if resident.waiters or resident.wanted_since is not None or resident.phase != "loading":
            return
        if load_goes_on or not resident.owned:
            resident.wanted_since = self._clock.monotonic()
        elif resident.task is not None and not resident.task.cancelling():
            resident.task.cancel()

    def _settled(self, resident: Resident, phase: str) -> None:
        resident.phase = phase  # type: ignore[assignment]  # "absent" or "ready"
        resident.task = None
        if phase == "absent":
            resident.used, resident.leaving = False, resident.obsolete

    def _drop_if_done(self, resident: Resident) -> None:
        idle = resident.phase == "absent" and not (resident.leases or resident.waiters or resident.watchers)
        if resident.obsolete and idle and resident.wanted_since is None:
            self._residents.pop(resident.key, None)

    def _tell(self, resident: Resident, state: str, message: str) -> None:
        if self._events.wants(ModelEvent):
            self._events.publish(ModelEvent(resident.name, "state", state, message=message))


def placement_of(ref: ModelRef, provider: ModelHost) -> Placement | None:
    """Where the model of *ref* lies; `None` where the provider has no such model."""
    if not isinstance(provider, Placed):
        return Placement((ref.provider, ref.model), owned=False)
    try:
        return provider.placement(ref.model)
    except LLMError:
        return None
