"""Models behind llama.cpp's own server: chat, embeddings, and where it is a router, their life in its memory."""

from collections.abc import Sequence
from typing import Final

from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.provider import ModelInfo, ModelStatus, ProviderServices
from core.llm.providers.base.residency import Placement
from core.llm.providers.llama_server.api import LlamaServerApi, RouterModel
from core.llm.providers.llama_server.config import LlamaServerConfig
from core.llm.providers.llama_server.model_manager import LlamaServerModelManager, status_of
from core.llm.providers.openai_server import OpenAIServerProvider

QUIRKS: Final = OpenAIQuirks(
    chat_path="/v1/chat/completions",
    embeddings_path="/v1/embeddings",
    models_path="/v1/models",
    thinking="chat_template",
    grammar_schema=True,
    prefill="trailing",
)


class LlamaServerProvider(OpenAIServerProvider):
    """One llama-server."""

    config: LlamaServerConfig
    product = "llama.cpp"
    start_it = "start it with `llama-server --models-dir FOLDER`"

    def __init__(self, config: LlamaServerConfig, services: ProviderServices) -> None:
        super().__init__(
            config, services, base_url=config.base_url, quirks=QUIRKS, batch_size=config.embedding_batch_size
        )
        self.api = LlamaServerApi(self.native(services))
        self.manager = LlamaServerModelManager(self.api, config, services)

    async def take_stock(self) -> tuple[tuple[str, ...], str]:
        """The models of the server, whose context is learnt by the way."""
        models = await self._learn()
        loaded = sum(model.in_memory for model in models)
        return tuple(model.id for model in models), f"{len(models)} models, {loaded} in memory"

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models of the server, and which of them are in memory.

        Raises:
            ProviderError: the server cannot be reached or refuses.
        """
        with self.located():
            models = await self._learn()
        return [ModelInfo(one.id, self.facts(one.id), loaded=one.in_memory) for one in models]

    def placement(self, model: str) -> Placement:
        """On a server that others use too; how a model is loaded is written down there."""
        return Placement(("llama_server", self.base_url, model), owned=False)

    async def loaded_models(self, known: Sequence[str]) -> Sequence[ModelStatus]:  # noqa: ARG002 - it has one name for each
        """Every model that has a process, whoever asked for it."""
        with self.located():
            found = [status_of(model) for model in await self.api.models() if model.in_memory]
        return [status for status in found if status is not None]

    async def chat_models(self, configured: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """The models with a process, and all; which of them can chat it does not say."""
        models = await self._learn()
        there = [model.id for model in models if model.in_memory]
        return [name for name in (*configured, *there) if name in there], [model.id for model in models]

    async def _learn(self) -> tuple[RouterModel, ...]:
        models = await self.api.models()
        for model in models:
            if model.facts.context_window is not None and self._facts.get(model.id) != model.facts:
                self._facts[model.id] = model.facts
        return models

    def forget(self) -> None:
        """Nothing to forget: what is in memory is asked for each time."""
