"""The life of models on a server that others use too: load, unload, pull, status.

Nothing here is remembered as truth: the state is asked for. Loads and pulls are shared: fifty callers cause one load,
and a caller who gives up does not take the load of the others away. What is sent is the business of a subclass.
"""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Literal

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.model_source import check_model_name, check_source
from core.llm.providers.base.provider import ModelStatus, Progress, ProgressCallback, ProviderServices
from core.llm.providers.base.single_flight import SingleFlight, Tell, within
from core.llm.providers.base.throttle import Throttle

_POLL_FIRST: Final = 0.05
_POLL_LONGEST: Final = 0.5

_Kind = Literal["load", "pull", "unload"]


@dataclass(frozen=True, slots=True)
class ManagerLimits:
    """Seconds that each step may take."""

    load: float
    unload: float


class ServerModelManager(ABC):
    """Loads, unloads and pulls the models of one server. Belongs to the event loop that uses it."""

    def __init__(
        self,
        services: ProviderServices,
        limits: ManagerLimits,
        *,
        unload_on_stop: bool,
        pull_from: tuple[str, ...] = (),
    ) -> None:
        self._services = services
        self._limits = limits
        self._unload_on_stop = unload_on_stop
        self._pull_from = pull_from
        self._loads: SingleFlight[ModelStatus] = SingleFlight()
        self._pulls: SingleFlight[Progress] = SingleFlight()
        self._unloading: set[str] = set()
        self._failed: dict[str, str] = {}
        self._loaded_here: dict[str, str] = {}

    def key(self, model: str) -> str:
        """What tells *model* from others, where a server knows it by several names."""
        return model

    def check_name(self, model: str) -> None:
        """Refuse what this kind of server calls no model.

        Raises:
            ProviderError: `invalid_request`, code `model_name`.
        """
        check_model_name(model)

    @abstractmethod
    async def find(self, model: str) -> ModelStatus | None:
        """Where *model* is, as the server says; `None`: not in memory."""

    async def already_there(self, model: str) -> ModelStatus | None:
        """Where *model* is, where loading it would be one question too many; `None`: load it."""
        found = await self.find(model)
        return found if found is not None and found.state in {"ready", "in_use"} else None

    @abstractmethod
    async def ask_to_load(self, model: str) -> str:
        """Load *model* and return once it is in memory, with what should be said about how it was loaded."""

    @abstractmethod
    async def ask_to_unload(self, model: str) -> None:
        """Tell the server to take *model* out of memory; a model that is not there is no error."""

    @abstractmethod
    async def download(self, model: str, report: Tell) -> Progress:
        """Download *model*, with a *report* now and then; returns the last one. Cancelled, it stops the download."""

    async def load(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        """Return once *model* is in memory; at once when it is there already.

        The load goes on when the caller is cancelled: the next call finds the model further along, or ready.

        Raises:
            ProviderError: the server refuses, or `timeout` with code `load_timeout`.
        """
        self.check_name(model)
        return await self._loads.join(self.key(model), lambda tell: self._load(model, tell), progress, keep=True)

    async def pull(self, model: str, progress: ProgressCallback | None = None, *, keep_going: bool = False) -> Progress:
        """Return once the server has downloaded *model*.

        When the last caller is cancelled, the download is stopped, unless `keep_going`.

        Raises:
            ProviderError: the download failed, `timeout` with code `pull_stalled`, or `invalid_request` where it would
                come from a host that is not allowed.
        """
        check_source(model, self._pull_from)
        return await self._pulls.join(self.key(model), lambda tell: self._pull(model, tell), progress, keep=keep_going)

    async def unload(self, model: str) -> ModelStatus:
        """Take *model* out of memory; returns once the server says that it has gone.

        Raises:
            ProviderError: `timeout` with code `unload_timeout`: it is still there after the limit.
        """
        self.check_name(model)
        key, limit = self.key(model), self._limits.unload
        self._unloading.add(key)
        self._event(model, "unload", "unloading")
        try:
            await self.ask_to_unload(model)
            await within(
                self._gone(model),
                limit,
                self._services.clock,
                lambda: ProviderError(
                    "timeout",
                    f"{model!r} is still in memory after {limit:g} s: someone is using it; try again, or raise "
                    "unload_timeout",
                    code="unload_timeout",
                ),
            )
        except ProviderError as error:
            self._event(model, "unload", "failed", message=error.message)
            raise
        finally:
            self._unloading.discard(key)
        self._loaded_here.pop(key, None)
        self._failed.pop(key, None)
        self._event(model, "unload", "unloaded")
        return ModelStatus(model, "unloaded")

    async def status(self, model: str) -> ModelStatus:
        """Where *model* is in its life, asked from the server."""
        key = self.key(model)
        if key in self._loads:
            return ModelStatus(model, "loading")
        found = await self.find(model)
        if found is not None:
            if key in self._unloading:
                return ModelStatus(model, "unloading", found.memory_bytes, found.detail)
            return found
        if key in self._failed:
            return ModelStatus(model, "failed", detail=self._failed[key])
        return ModelStatus(model, "unloaded")

    async def close(self) -> None:
        """Stop loads and pulls; with `unload_on_stop`, unload what was loaded here."""
        await self._loads.stop()
        await self._pulls.stop()
        if self._unload_on_stop:
            await asyncio.gather(*(self._unload_quietly(model) for model in tuple(self._loaded_here.values())))

    async def _unload_quietly(self, model: str) -> None:
        try:
            await self.unload(model)
        except ProviderError:
            # Closing goes on; the failure has been published as an event.
            self._loaded_here.pop(self.key(model), None)

    async def _load(self, model: str, tell: Tell) -> ModelStatus:
        clock = self._services.clock
        limit = self._limits.load
        begun = clock.monotonic()
        late = ProviderError(
            "timeout",
            f"{model!r} was not loaded within {limit:g} s; raise load_timeout if the model is large",
            code="load_timeout",
        )
        tell(Progress("loading"))
        self._event(model, "load", "loading")
        try:
            if (there := await self.already_there(model)) is not None:
                return self._ready(there, tell)
            detail = await within(self.ask_to_load(model), limit, clock, lambda: late)
            found = await self.find(model)
        except ProviderError as error:
            self._failed[self.key(model)] = error.message
            self._event(model, "load", "failed", message=error.message)
            raise
        except asyncio.CancelledError:
            self._event(model, "load", "cancelled")
            raise
        self._loaded_here[self.key(model)] = model
        size = found.memory_bytes if found is not None else None
        return self._ready(ModelStatus(model, "ready", size, detail, load_seconds=clock.monotonic() - begun), tell)

    def _ready(self, status: ModelStatus, tell: Tell) -> ModelStatus:
        self._failed.pop(self.key(status.model), None)
        tell(Progress("ready"))
        self._event(status.model, "load", "ready", message=status.detail)
        return status

    async def _pull(self, model: str, tell: Tell) -> Progress:
        throttle = Throttle(self._services.clock)

        def report(progress: Progress) -> None:
            if throttle.due():
                tell(progress)
                self._event(model, "pull", "pulling", progress)

        self._event(model, "pull", "pulling")
        try:
            final = await self.download(model, report)
        except ProviderError as error:
            self._event(model, "pull", "failed", message=error.message)
            raise
        except asyncio.CancelledError:
            self._event(model, "pull", "cancelled")
            raise
        tell(final)
        self._event(model, "pull", "pulled", final)
        return final

    async def _gone(self, model: str) -> None:
        pause = _POLL_FIRST
        while await self.find(model) is not None:
            await self._services.clock.sleep(pause)
            pause = min(pause * 2, _POLL_LONGEST)

    def _event(self, model: str, kind: _Kind, state: str, progress: Progress | None = None, message: str = "") -> None:
        bus = self._services.events
        if not bus.wants(ModelEvent):
            return
        at = progress or Progress(message)
        bus.publish(ModelEvent(f"{self._services.name}/{model}", kind, state, at.completed, at.total, at.message))
