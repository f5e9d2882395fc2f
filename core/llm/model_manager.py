"""`ModelManager`: which local models are in memory, for whoever wants to look or to decide."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from core.llm.asking import asked
from core.llm.common.clock import Clock, SystemClock
from core.llm.common.events import EventBus, ModelEvent
from core.llm.common.exceptions import (
    LLMError,
    ModelNotReady,
    UnsupportedFeature,
)
from core.llm.common.types import ModelRef, SwapMode
from core.llm.model_pull import installed_model, pull_model
from core.llm.model_survey import ModelSurvey, survey
from core.llm.model_swap import ModelSwap, ref_of, target_of
from core.llm.pipeline.target import Target
from core.llm.preload import Preload, longest_wait
from core.llm.providers.base.provider import (
    ModelHost,
    ModelInfo,
    ModelStatus,
    ProgressCallback,
    PullStrategy,
)
from core.llm.residency.residence import Residence
from core.llm.residency.resident import Resident

if TYPE_CHECKING:
    from core.llm.runtime.live import LiveConfiguration
    from core.llm.runtime.runtime import Runtime

_START_MARGIN: Final = 5.0


class ModelManager:
    """Loads, unloads, swaps and pulls local models, and tells what is in memory. Injectable; valid across reloads.

    A model is named as in a call: an alias, `provider/model`, or a model name. Everything belongs to the event loop in
    which the service was started.
    """

    def __init__(self, live: "LiveConfiguration", events: EventBus | None = None, clock: Clock | None = None) -> None:
        self._live = live
        self._keeper = live.keeper
        self._events = events or EventBus()
        self._clock = clock or SystemClock()
        self._swaps = ModelSwap(live, self._clock, self._events)
        self._preload = Preload(self.load)
        live.state.is_loaded = self.is_loaded
        live.state.want_loaded = self._want

    # Start and stop, by the container.

    @property
    def start_timeout(self) -> float:
        """Seconds that `start` may need: the time for models that the start waits for."""
        return longest_wait(self._runtime.config.residency) + _START_MARGIN

    async def start(self) -> None:
        """Load what is pinned and what is to be preloaded, in the background or before calls are admitted.

        Raises:
            LLMError: `preload_mode: required`, and a model cannot be loaded; says which and why.
        """
        self._live.on_applied(self._follow)
        self._follow(self._runtime)
        try:
            await self._preload.run(self._runtime.config.residency)
        except BaseException:
            # The service, which would shut all of this down, is never started.
            await self.stop()
            await self._live.shut_down()
            raise

    async def stop(self) -> None:
        """End what runs in the background. The models themselves end with their providers."""
        await self._preload.stop()

    def _follow(self, runtime: "Runtime") -> None:
        """Pin what the configuration in force pins, and nothing else that an earlier one had pinned."""
        self._live.state.swapped.prune(runtime.config)
        wanted: set[int] = set()
        for name in runtime.config.residency.pinned:
            resident = self._resident_of(runtime, name)
            if resident is not None:
                wanted.add(id(resident))
                self._keeper.pin(resident, configured=True)
        for resident in self._keeper.residents:
            if resident.pinned_by_config and id(resident) not in wanted:
                self._keeper.unpin(resident)

    # What is there.

    def list(self) -> tuple[Residence, ...]:
        """Every local model that is configured or in memory, as far as is known without asking a server."""
        runtime = self._runtime
        for name, provider in runtime.providers.items():
            if isinstance(provider, ModelHost):
                for model in runtime.config.providers[name].models:
                    runtime.known_target(ModelRef(name, model))
        now = self._clock.monotonic()
        return tuple(resident.residence(now) for resident in self._keeper.residents)

    def is_loaded(self, ref: ModelRef) -> bool | None:
        """Whether the model is in memory; `None` where its server decides alone, or it is hosted. Asks nobody."""
        runtime = self._live.holder.previous
        if runtime is None or ref.provider not in runtime.providers or not ref.model:
            return None
        resident = runtime.known_target(ref).resident
        return None if resident is None else resident.phase == "ready"

    async def survey(self, *, timeout: float = 5.0) -> ModelSurvey:
        """Every local model there is, configured or not, and which of them are in memory: their providers are asked.

        One that gives no answer within *timeout* seconds is named in the result; nothing is raised for it.
        """
        return await survey(self._runtime, self._clock, timeout)

    async def status(self, model: str) -> ModelStatus:
        """Where a local model is in its life, with its memory; its server is asked where it has one.

        Raises:
            UnsupportedFeature: its provider does not load and unload models.
        """
        target = await self._target(model)
        host = self._host(target)
        resident = target.resident
        host_knows = (
            resident is None or resident.phase == "ready" or (resident.phase == "absent" and not resident.owned)
        )
        if resident is None or host_knows:
            found = await asked(host.model_status(target.ref.model), target.ref)
            if resident is not None and found.state == "unloaded" and (error := resident.failures.error) is not None:
                # A host need not remember what it could not load.
                return ModelStatus(found.model, "failed", None, str(error))
            if resident is None or not resident.leases or found.state != "ready":
                return found
            return ModelStatus(found.model, "in_use", found.memory_bytes, found.detail, found.pid, found.load_seconds)
        error = resident.failures.error
        detail = str(error) if error is not None else resident.reason
        return ModelStatus(target.ref.model, resident.state(), None, detail)

    async def events(self, model: str | None = None) -> AsyncIterator[ModelEvent]:
        """What happens to local models (or to *model*, as `provider/model`) from now on; the slow lose the oldest."""
        async for event in self._events.stream(ModelEvent):
            if isinstance(event, ModelEvent) and model in {None, event.model}:
                yield event

    # What is to be there.

    async def load(self, model: str, progress: ProgressCallback | None = None, *, force: bool = True) -> ModelStatus:
        """Load a local model; returns at once when it is in memory. All who ask share one load.

        Args:
            model: alias, `provider/model` or model name.
            progress: told how far the load is.
            force: try now, also where it has just failed or crashed.

        Raises:
            ModelLoadError: it cannot be loaded; says why.
            NoCapacity: there was no room for it.
            UnsupportedFeature: its provider does not load and unload models.
        """
        while True:
            target = await self._target(model)
            host, resident = self._host(target), target.resident
            if resident is None or resident.phase == "ready":
                return await asked(host.load_model(target.ref.model, progress), target.ref)
            try:
                await self._keeper.load(resident, progress, force=force)
            except LLMError:
                if not resident.obsolete:
                    raise
                continue  # it was edited while it waited: what is configured now is meant
            return await asked(host.model_status(target.ref.model), target.ref)

    async def unload(self, model: str, *, drain: float | None = None) -> ModelStatus:
        """Take a local model out of memory, and return once it has gone; its next call loads it again.

        Calls that use it may end first: for *drain* seconds, or `residency.drain_timeout`. Then they are cut.
        """
        target = await self._target(model)
        host, resident = self._host(target), target.resident
        if resident is None or resident.phase == "absent":
            return await asked(host.unload_model(target.ref.model), target.ref)
        await self._keeper.unload(resident, drain)
        return await asked(host.model_status(target.ref.model), target.ref)

    async def swap(self, alias: str, model: str, *, mode: SwapMode = "auto") -> ModelStatus:
        """Let *alias* mean *model* from now on, without a call that fails.

        The new model is loaded and tried with one token before any call goes to it; where that fails, nothing has
        changed. Calls that run end on the old model, which leaves memory after the last of them. The swap holds until
        the alias is edited in the configuration, or the service stops.

        Args:
            alias: a name under `models` of the configuration.
            model: `provider/model`, or another alias.
            mode: overlap: both are in memory for a while. replace: the old one goes first, and calls wait. auto:
                overlap where there is room for both.

        Raises:
            ModelLoadError: the new model cannot be loaded or does not answer; the old one goes on.
            NoCapacity: mode is overlap and there is no room for both.
        """
        return await self._swaps.swap(alias, model, mode)

    async def pull(self, model: str, progress: ProgressCallback | None = None) -> ModelInfo:
        """Download a model to the server that serves it; *model* is `provider/model` or an alias.

        All who ask share one download. Cancelling the last of them stops it and keeps what can be resumed.
        """
        return await pull_model(self._runtime, await ref_of(self._runtime, model), progress)

    async def ensure_model_available(
        self, model: str, progress: ProgressCallback | None = None, *, pull: PullStrategy | None = None
    ) -> ModelInfo:
        """Return once the server has the model on disk, downloading it where that is allowed.

        Args:
            model: alias, `provider/model` or model name.
            progress: told how far a download is.
            pull: the strategy; by default what its provider is configured to do, else `when_missing`. Where `always`
                is only configured, an installed version does while its registry is away.

        Raises:
            ModelNotReady: it is not there, and *pull* is `never`.
            ProviderError: the download failed.
        """
        return await installed_model(self._runtime, await ref_of(self._runtime, model), progress, pull)

    async def pin(self, model: str) -> None:
        """Keep a local model in memory: it is loaded when it is not there, never let go, and loaded after a crash."""
        self._keeper.pin(await self._managed(model))

    async def unpin(self, model: str) -> None:
        """Let the rules of `residency` decide about a model again."""
        self._keeper.unpin(await self._managed(model))

    @asynccontextmanager
    async def lease(self, model: str, *, wait: float | None = None) -> AsyncIterator[ModelRef]:
        """Keep a local model in memory for the length of a block; it is loaded first where it is not there.

        Args:
            model: alias, `provider/model` or model name.
            wait: seconds for which it may wait for room; 0: only if it is ready.

        Raises:
            ModelNotReady: *wait* is 0 and it is not in memory.
            LLMError: as `load`.
        """
        resident = await self._managed(model)
        if not self._keeper.lease(resident):
            if wait == 0:
                raise ModelNotReady(f"{resident.name} is not in memory", model=resident.name)
            await self._keeper.acquire(resident, until=math.inf, wait=wait)
        try:
            yield resident.ref
        finally:
            self._keeper.release(resident)

    # Names.

    @property
    def _runtime(self) -> "Runtime":
        return self._live.holder.current

    async def _target(self, model: str) -> Target:
        return await target_of(self._runtime, model)

    async def _managed(self, model: str) -> Resident:
        target = await self._target(model)
        self._host(target)
        if target.resident is None:
            raise UnsupportedFeature(
                f"the memory of {target.ref} is its server's business as long as nothing is set under `residency`"
            )
        return target.resident

    @staticmethod
    def _host(target: Target) -> ModelHost:
        if not isinstance(target.provider, ModelHost):
            raise UnsupportedFeature(f"provider {target.ref.provider!r} does not load and unload models")
        return target.provider

    def _resident_of(self, runtime: "Runtime", name: str) -> Resident | None:
        for ref in map(runtime.completed, runtime.router.chain([name])[:1]):
            if ref.model and runtime.unavailable(ref) is None:
                return runtime.known_target(ref).resident
        return None

    def _want(self, ref: ModelRef) -> None:
        runtime = self._runtime
        if ref.provider in runtime.providers and ref.model:
            resident = runtime.known_target(ref).resident
            if resident is not None:
                self._keeper.want(resident)
