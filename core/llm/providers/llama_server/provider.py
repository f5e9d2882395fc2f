"""Models behind llama.cpp's own server: chat, embeddings, and where it is a router, their life in its memory."""

from collections.abc import Sequence
from typing import Final

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.provider import HealthReport, ModelInfo, ModelStatus, ProviderServices
from core.llm.providers.base.residency import Placement
from core.llm.providers.llama_server.api import LlamaServerApi, RouterModel
from core.llm.providers.llama_server.config import LlamaServerConfig
from core.llm.providers.llama_server.model_manager import LlamaServerModelManager, status_of
from core.llm.providers.openai_server import OpenAIServerProvider, address_of

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

    async def health_check(self) -> HealthReport:
        """Ask for the models; costs no tokens and loads nothing. Learns their context by the way."""
        clock = self.services.clock
        begun = clock.monotonic()
        try:
            models = await self._learn()
        except ProviderError as error:
            return HealthReport(healthy=False, detail=error.message)
        loaded = sum(model.in_memory for model in models)
        detail = f"llama-server at {address_of(self.base_url)}: {len(models)} models, {loaded} in memory"
        return HealthReport(True, detail, clock.monotonic() - begun, tuple(model.id for model in models))

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models of the server, and which of them are in memory.

        Raises:
            ProviderError: the server cannot be reached or refuses.
        """
        try:
            models = await self._learn()
        except ProviderError as error:
            raise error.at(self.name, None) from None
        return [ModelInfo(one.id, self.facts(one.id), loaded=one.in_memory) for one in models]

    def placement(self, model: str) -> Placement:
        """On a server that others use too; how a model is loaded is written down there."""
        return Placement(("llama_server", self.base_url, model), owned=False)

    async def loaded_models(self, known: Sequence[str]) -> Sequence[ModelStatus]:  # noqa: ARG002 - it has one name for each
        """Every model that has a process, whoever asked for it."""
        try:
            found = [status_of(model) for model in await self.api.models() if model.in_memory]
        except ProviderError as error:
            raise error.at(self.name, None) from None
        return [status for status in found if status is not None]

    async def resolve_default_model(self) -> str | None:
        """The model for callers that name only this provider.

        `default_model` of the configuration; else a model in memory, one of `models` before others; else the first of
        `models`; else the first that the server has. `None`: it has none.

        Raises:
            ProviderError: nothing is configured and the server cannot be asked.
        """
        if self.config.default_model:
            return self.config.default_model
        configured = tuple(self.config.models)
        try:
            models = await self._learn()
        except ProviderError as error:
            if configured:
                return configured[0]
            raise error.at(self.name, None) from None
        there = [model.id for model in models if model.in_memory]
        ready = [name for name in (*configured, *there) if name in there]
        return next(iter([*ready, *configured, *(model.id for model in models)]), None)

    async def _learn(self) -> tuple[RouterModel, ...]:
        models = await self.api.models()
        for model in models:
            if model.facts.context_window is not None and self._facts.get(model.id) != model.facts:
                self._facts[model.id] = model.facts
        return models

    def forget(self) -> None:
        """Nothing to forget: what is in memory is asked for each time."""
