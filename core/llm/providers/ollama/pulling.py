"""When a model is pulled by itself: because it is missing, or to see whether there is a newer version."""

import asyncio

from core.llm.common.exceptions import ProviderError
from core.llm.providers.ollama.catalogue import OllamaCatalogue
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.model_manager import OllamaModelManager
from core.llm.providers.ollama.naming import canonical_name


class OllamaPulls:
    """Follows the configured strategy. Whoever made it must `close` it, after its manager."""

    def __init__(self, manager: OllamaModelManager, catalogue: OllamaCatalogue, config: OllamaConfig) -> None:
        self._manager = manager
        self._catalogue = catalogue
        self._config = config
        self._looked: set[str] = set()
        """Models that were compared with their registry, once for each configuration."""
        self._running: set[asyncio.Task[None]] = set()

    def concern(self, model: str) -> bool:
        """Whether *model* is pulled by itself at all."""
        return self._config.pull_of(model) != "never"

    def allowed_for(self, model: str, error: ProviderError) -> bool:
        """Whether *error* is one that pulling *model* mends."""
        return error.type == "model_not_found" and self.concern(model)

    async def fetch(self, model: str) -> None:
        """Return once *model* is installed. The download outlives a call that runs out of time: the next one joins it.

        Raises:
            ProviderError: it cannot be downloaded.
        """
        await self._manager.pull(model, keep_going=True)
        self._catalogue.forget()

    def refresh(self, model: str) -> None:
        """With `always`: look for a newer version in the background, once. The installed one serves meanwhile."""
        name = canonical_name(model)
        if name in self._looked or self._config.pull_of(model) != "always":
            return
        self._looked.add(name)
        task = asyncio.get_running_loop().create_task(self._refresh(model), name=f"refresh {name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _refresh(self, model: str) -> None:
        try:
            await self.fetch(model)
        except ProviderError:
            # What is installed serves on; the failure has been published as an event. Another call may look again.
            self._looked.discard(canonical_name(model))

    async def close(self) -> None:
        """Return once nothing runs in the background any more."""
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(tuple(self._running))
