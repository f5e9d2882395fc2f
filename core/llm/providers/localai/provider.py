"""Models on a LocalAI server: chat, embeddings, and their life in its memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.provider import (
    ModelInfo,
    ModelStatus,
    ProgressCallback,
    ProviderServices,
)
from core.llm.providers.base.residency import Placement
from core.llm.providers.localai.api import GalleryModel, InstalledModel, LocalAIApi
from core.llm.providers.localai.config import LocalAIConfig
from core.llm.providers.localai.model_manager import LocalAIModelManager
from core.llm.providers.openai_server import OpenAIServerProvider, is_missing_endpoint

QUIRKS: Final = OpenAIQuirks(
    chat_path="/v1/chat/completions",
    embeddings_path="/v1/embeddings",
    models_path="/v1/models",
    grammar_schema=True,
    document="none",
    rejects=frozenset({"parallel_tool_calls"}),
)


class LocalAIProvider(OpenAIServerProvider):
    """One LocalAI server."""

    config: LocalAIConfig
    manager: LocalAIModelManager
    product = "LocalAI"
    start_it = "start it with `local-ai run` or its container"

    def __init__(self, config: LocalAIConfig, services: ProviderServices) -> None:
        super().__init__(
            config, services, base_url=config.base_url, quirks=QUIRKS, batch_size=config.embedding_batch_size
        )
        self.api = LocalAIApi(self.native(services))
        self.manager = LocalAIModelManager(self.api, config, services)

    async def take_stock(self) -> tuple[tuple[str, ...], str]:
        """The installed models, whose facts are learnt by the way."""
        models = await self._learn()
        return tuple(model.name for model in models), f"{len(models)} models"

    async def list_models(self) -> Sequence[ModelInfo]:
        """The installed models with their facts, and, where the key may ask, which of them are in memory.

        Raises:
            ProviderError: the server cannot be reached or refuses.
        """
        with self.located():
            models = await self._learn()
            loaded = await self._loaded()
        return [
            ModelInfo(one.name, self.facts(one.name), loaded=None if loaded is None else one.name in loaded)
            for one in models
        ]

    def placement(self, model: str) -> Placement:
        """On a server that others use too; how a model is loaded is written down there."""
        return Placement(("localai", self.base_url, model), owned=False)

    async def loaded_models(self, known: Sequence[str]) -> Sequence[ModelStatus]:
        """Every model with a running backend; where the key may not ask for that, those of *known*."""
        with self.located():
            loaded = await self._loaded()
            names = known if loaded is None else loaded
            found = [(name, await self.manager.find(name)) for name in names]
        return [replace(status, model=name) for name, status in found if status is not None]

    async def _loaded(self) -> frozenset[str] | None:
        try:
            return await self.api.loaded_models()
        except ProviderError as error:
            # Which models run is for admins; what can be asked for is not.
            if error.type in {"permission", "authentication"} or is_missing_endpoint(error):
                return None
            raise

    async def _learn(self) -> tuple[InstalledModel, ...]:
        models = await self.api.installed()
        for model in models:
            if self._facts.get(model.name) != model.facts:
                self._facts[model.name] = model.facts
        return models

    async def chat_models(self, configured: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """The installed models that can chat; where the key may not ask which are in memory, none is taken to be."""
        names = [model.name for model in await self._learn() if not model.facts.lacks("chat")]
        loaded = await self._loaded() or frozenset()
        return [name for name in (*configured, *names) if name in loaded and name in names], names

    async def pull_model(self, model: str, progress: ProgressCallback | None = None) -> ModelInfo:
        """Install *model* from the gallery: a name such as `localai@qwen3-8b`, or the address of a definition.

        Cancelling pauses the installation, and the next one goes on from there.
        """
        with self.located(model):
            await self.manager.pull(model, progress)
            models = await self._learn()
        name = model.rpartition("@")[2]
        known = any(one.name == name for one in models)
        return ModelInfo(name, self.facts(name), loaded=False) if known else ModelInfo(name)

    async def delete_model(self, model: str) -> None:
        """Remove *model* and its files from the server.

        Raises:
            ProviderError: it refuses, or the removal failed.
        """
        with self.located(model):
            await self.manager.delete(model)
        self._facts.pop(model, None)

    async def available_models(self) -> Sequence[GalleryModel]:
        """What the galleries of the server offer.

        Raises:
            ProviderError: the server cannot be reached or refuses.
        """
        with self.located():
            return await self.api.available()

    def forget(self) -> None:
        """Nothing to forget: what is in memory is asked for each time."""
