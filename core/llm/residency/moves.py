"""The loads and unloads themselves, each a task of its own, and what servers and processes do by themselves."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from core.llm.common.clock import Clock
from core.llm.common.events import EventBus, ModelEvent
from core.llm.common.exceptions import LLMError, ProviderError, WorkerCrashed
from core.llm.common.types import ModelRef
from core.llm.providers.base.provider import ModelHost, ModelStatus
from core.llm.providers.base.residency import Cuttable
from core.llm.residency.loading import is_out_of_memory, load_once, provider_defect
from core.llm.residency.reconcile import Reconciler
from core.llm.residency.registry import Registry, placement_of
from core.llm.residency.resident import Resident

MEMORY_PATIENCE: Final = 5.0
"""Seconds that memory gets to come back after a model could not be loaded for lack of it."""


class Moves:
    """Takes models into memory and out of it; calls *turn* whenever that may change what is to be done next."""

    def __init__(self, books: Registry, clock: Clock, events: EventBus, turn: Callable[[], None]) -> None:
        self._books = books
        self._clock = clock
        self._events = events
        self._turn = turn
        self._reconciler = Reconciler(books, self, turn, clock)
        self._subscription = events.subscribe(self._on_event, ModelEvent)

    def look_soon(self) -> None:
        """Ask the servers what they hold."""
        self._reconciler.soon()

    async def stop(self) -> None:
        """End everything that runs."""
        self._subscription.close()
        await self._reconciler.stop()
        for resident in self._books:
            resident.call_off()
        tasks = [resident.task for resident in self._books if resident.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    # Loads.

    def load(self, resident: Resident) -> None:
        """Begin a load, for which there is room."""
        resident.phase, resident.reason = "loading", ""
        resident.task = asyncio.get_running_loop().create_task(self._load(resident), name=f"load {resident.name}")

    async def _load(self, resident: Resident) -> None:
        begun = self._clock.monotonic()
        try:
            status = await self._load_with_room(resident)
        except asyncio.CancelledError:
            resident.settle("absent")
            resident.announce()
            self._books.forget_if_done(resident)
            asyncio.get_running_loop().call_soon(self._turn)
            raise
        except LLMError as error:
            self._not_loaded(resident, error)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises must not end the keeping of the books
            self._not_loaded(resident, provider_defect(resident, error))
        else:
            self._loaded(resident, status, begun)
        self._books.forget_if_done(resident)
        self._turn()

    def _not_loaded(self, resident: Resident, error: LLMError) -> None:
        resident.failures.load_failed(error, self._clock.monotonic())
        resident.wanted_since = None
        resident.settle("absent")
        resident.fail(error)

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
        status = await load_once(resident, self._books.options, self._clock, self._events)
        if resident.warm_up is not None:
            try:
                await resident.warm_up()
            except BaseException:
                with suppress(Exception):  # what is wrong with the model matters more
                    await resident.handle.unload_model(resident.ref.model)
                raise
        return status

    def _make_all_room(self, resident: Resident) -> bool:
        idle = [
            one
            for one in self._books
            if one.device == resident.device and one.phase == "ready" and not (one.leases or one.pinned or not one.ours)
        ]
        for one in idle:
            self.unload(one, f"{resident.name} did not fit into memory")
        return bool(idle)

    async def _room_made(self, resident: Resident) -> None:
        tasks = [
            one.task
            for one in self._books
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
        resident.settle("ready")
        resident.grant()
        resident.announce()
        if not resident.owned:
            self._reconciler.begin()

    # Unloads.

    def drain(self, resident: Resident, reason: str) -> None:
        """No new leases; the next turn unloads it once the last one has ended."""
        resident.phase, resident.reason = "draining", reason
        self._tell(resident, "draining", reason)

    def unload(self, resident: Resident, reason: str, *, cut: bool = False) -> None:
        """Begin an unload; *cut*: without waiting for calls that still use it, where its provider can do that."""
        resident.phase, resident.reason = "unloading", reason
        self._tell(resident, "unloading", reason)
        work = self._unload(resident, cut)
        resident.task = asyncio.get_running_loop().create_task(work, name=f"unload {resident.name}")

    async def _unload(self, resident: Resident, cut: bool) -> None:
        handle, model = resident.handle, resident.ref.model
        try:
            if cut and isinstance(handle, Cuttable):
                await handle.cut_model(model)
            else:
                await handle.unload_model(model)
        except asyncio.CancelledError:
            resident.settle("absent")
            raise
        except LLMError as error:
            self._not_unloaded(resident, error)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises must not end the keeping of the books
            failure = ProviderError("unknown", f"its provider raised {type(error).__name__}", code="provider_defect")
            self._not_unloaded(resident, failure.at(*resident.ref))
        else:
            resident.settle("absent")
            resident.announce()
        self._books.forget_if_done(resident)
        self._turn()

    def _not_unloaded(self, resident: Resident, error: LLMError) -> None:
        unreachable = isinstance(error, ProviderError) and error.type == "network_error"
        if unreachable or resident.gone_without_notice():
            resident.settle("absent")
            resident.announce()
            return
        # Somebody else holds it: it is not tried again and again.
        resident.settle("ready")
        resident.ours, resident.reason = False, str(error)
        resident.fail_watchers(error)

    def force_out(self, resident: Resident) -> None:
        """Unload what is being drained, whoever still uses it."""
        if resident.phase == "draining":
            self.unload(resident, "its calls did not end in time", cut=True)

    # What others do.

    def found(self, resident: Resident, status: ModelStatus | None) -> None:
        """A server says that the model is in memory (*status*), or that it is not."""
        if resident.task is not None:
            return
        if status is not None:
            resident.measured = status.memory_bytes or resident.measured
            if resident.phase == "absent" and not self._books.rivals(resident):
                resident.ours = False
                resident.last_use = self._clock.monotonic()
                resident.settle("ready")
                self._tell(resident, "ready", "loaded by somebody else")
        elif resident.phase == "ready" and not resident.leases:
            resident.settle("absent")
            self._tell(resident, "unloaded", "its server has let it go")
            if not resident.ours and not resident.loads:
                self._books.forget(resident)
            resident.ours = True

    def found_foreign(self, handle: ModelHost, ref: ModelRef, status: ModelStatus) -> None:
        """A server holds a model that no call of ours has asked for."""
        placement = placement_of(ref, handle)
        if placement is not None and placement.identity not in self._books:
            self.found(self._books.open(ref, handle, placement), status)

    def _on_event(self, event: object) -> None:
        if not isinstance(event, ModelEvent) or event.kind != "crash":
            return
        for resident in self._books:
            there = resident.phase in {"ready", "draining"}
            if resident.name == event.model and there and resident.gone_without_notice():
                crash = WorkerCrashed(event.message or "its process has gone", model=resident.name)
                resident.failures.crashed(crash, self._clock.monotonic())
                resident.settle("absent")
                resident.announce()
                asyncio.get_running_loop().call_soon(self._turn)

    def _tell(self, resident: Resident, state: str, message: str) -> None:
        if self._events.wants(ModelEvent):
            self._events.publish(ModelEvent(resident.name, "state", state, message=message))
