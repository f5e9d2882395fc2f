"""Models on an Ollama server: load, unload, pull, status.

Others may load and evict on the same server, so nothing here is remembered as truth: the state is asked for. Loads and
pulls are shared: fifty callers cause one load, and a caller who gives up does not take the others' load away.
"""

import asyncio
from typing import Final, Literal

from core.llm.common.events import ModelEvent
from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.provider import ModelStatus, Progress, ProgressCallback, ProviderServices
from core.llm.providers.base.single_flight import SingleFlight, Tell, within
from core.llm.providers.base.throttle import Throttle
from core.llm.providers.ollama.client import OllamaClient
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.keep_alive import keep_alive_to_wire
from core.llm.providers.ollama.models.catalogue import RunningModel, TransferProgress
from core.llm.providers.ollama.models.requests import EmbedRequest, GenerateRequest, PullRequest
from core.llm.providers.ollama.naming import canonical_name
from core.llm.providers.ollama.progress import PullTotals

_POLL_FIRST: Final = 0.05
_POLL_LONGEST: Final = 0.5

_Kind = Literal["load", "pull", "unload"]


class OllamaModelManager:
    """Loads, unloads and pulls the models of one server. Belongs to the event loop that uses it."""

    def __init__(self, client: OllamaClient, config: OllamaConfig, services: ProviderServices) -> None:
        self._client = client
        self._config = config
        self._services = services
        self._loads: SingleFlight[ModelStatus] = SingleFlight()
        self._pulls: SingleFlight[TransferProgress] = SingleFlight()
        self._unloading: set[str] = set()
        self._failed: dict[str, str] = {}
        self._loaded_here: dict[str, str] = {}

    async def load(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        """Return once *model* is in memory, with the same options that its calls send.

        The load goes on when the caller is cancelled: the next call finds the model further along, or ready.

        Raises:
            ProviderError: the server refuses, or `timeout` with code `load_timeout`.
        """
        return await self._loads.join(canonical_name(model), lambda tell: self._load(model, tell), progress, keep=True)

    async def pull(
        self, model: str, progress: ProgressCallback | None = None, *, keep_going: bool = False
    ) -> TransferProgress:
        """Download *model*; returns its last line, after the server has verified the digest.

        When the last caller is cancelled the download stops and can be resumed, unless `keep_going`.
        """
        return await self._pulls.join(
            canonical_name(model), lambda tell: self._pull(model, tell), progress, keep=keep_going
        )

    async def unload(self, model: str) -> ModelStatus:
        """Take *model* out of memory; returns once the server no longer lists it. Running answers end first.

        Raises:
            ProviderError: `timeout` with code `unload_timeout`: it is still there after `unload_timeout`.
        """
        name = canonical_name(model)
        limit = self._config.unload_timeout
        self._unloading.add(name)
        self._event(model, "unload", "unloading")
        try:
            await self._client.generate(GenerateRequest(model=model, keep_alive=0))
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
            self._unloading.discard(name)
        self._loaded_here.pop(name, None)
        self._event(model, "unload", "unloaded")
        return ModelStatus(model, "unloaded")

    async def status(self, model: str) -> ModelStatus:
        """Where *model* is in its life, asked from the server."""
        name = canonical_name(model)
        if name in self._loads:
            return ModelStatus(model, "loading")
        running = await self._find(model)
        if running is not None:
            detail = f"until {running.expires_at}" if running.expires_at else ""
            return ModelStatus(model, "unloading" if name in self._unloading else "ready", running.size, detail)
        if name in self._failed:
            return ModelStatus(model, "failed", detail=self._failed[name])
        return ModelStatus(model, "unloaded")

    async def close(self) -> None:
        """Stop loads and pulls; with `unload_on_stop`, unload what was loaded here."""
        await self._loads.stop()
        await self._pulls.stop()
        if self._config.unload_on_stop:
            await asyncio.gather(*(self._unload_quietly(model) for model in tuple(self._loaded_here.values())))

    async def _unload_quietly(self, model: str) -> None:
        try:
            await self.unload(model)
        except ProviderError:
            # Closing goes on; the failure has been published as an event.
            self._loaded_here.pop(canonical_name(model), None)

    async def _load(self, model: str, tell: Tell) -> ModelStatus:
        clock = self._services.clock
        limit = self._config.load_timeout
        name = canonical_name(model)
        begun = clock.monotonic()
        tell(Progress("loading"))
        self._event(model, "load", "loading")
        try:
            await within(
                self._ask_to_load(model),
                limit,
                clock,
                lambda: ProviderError(
                    "timeout",
                    f"{model!r} was not loaded within {limit:g} s; raise load_timeout if the model is large",
                    code="load_timeout",
                ),
            )
            running = await self._find(model)
        except ProviderError as error:
            self._failed[name] = error.message
            self._event(model, "load", "failed", message=error.message)
            raise
        except asyncio.CancelledError:
            self._event(model, "load", "cancelled")
            raise
        self._failed.pop(name, None)
        self._loaded_here[name] = model
        tell(Progress("ready"))
        self._event(model, "load", "ready")
        size = running.size if running is not None else None
        return ModelStatus(model, "ready", size, load_seconds=clock.monotonic() - begun)

    async def _ask_to_load(self, model: str) -> None:
        options = dict(self._config.options_of(model)) or None
        # Zero would unload the model right away; the call that uses it sends its own keep_alive.
        keep_alive = keep_alive_to_wire(self._config.keep_alive_of(model)) or None
        request = GenerateRequest(model=model, options=options, keep_alive=keep_alive, shift=self._config.shift)
        try:
            await self._client.generate(request)
        except ProviderError as error:
            if error.code != "unsupported":
                raise
            # A model that only embeds cannot generate, not even nothing; an empty list of inputs loads it.
            await self._client.embed(EmbedRequest(model=model, input=[], options=options, keep_alive=keep_alive))

    async def _pull(self, model: str, tell: Tell) -> TransferProgress:
        totals = PullTotals()
        throttle = Throttle(self._services.clock)
        last = TransferProgress()
        self._event(model, "pull", "pulling")
        try:
            async for last in self._client.pull(PullRequest(model=model)):
                progress = totals.add(last)
                if not last.succeeded and throttle.due():
                    tell(progress)
                    self._event(model, "pull", "pulling", progress)
        except ProviderError as error:
            self._event(model, "pull", "failed", message=error.message)
            raise
        except asyncio.CancelledError:
            self._event(model, "pull", "cancelled")
            raise
        final = totals.finished()
        tell(final)
        self._event(model, "pull", "pulled", final)
        return last

    async def _gone(self, model: str) -> None:
        pause = _POLL_FIRST
        while await self._find(model) is not None:
            await self._services.clock.sleep(pause)
            pause = min(pause * 2, _POLL_LONGEST)

    async def _find(self, model: str) -> RunningModel | None:
        name = canonical_name(model)
        for running in (await self._client.ps()).models:
            if name in {canonical_name(running.name), canonical_name(running.model)}:
                return running
        return None

    def _event(self, model: str, kind: _Kind, state: str, progress: Progress | None = None, message: str = "") -> None:
        bus = self._services.events
        if not bus.wants(ModelEvent):
            return
        at = progress or Progress(message)
        bus.publish(ModelEvent(f"{self._services.name}/{model}", kind, state, at.completed, at.total, at.message))
