"""Hugging Face models on this machine as a provider: chat, embeddings, and the life of a model in memory."""

import os
from typing import Final

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.types import Capability, ModelFacts
from core.llm.providers.base.provider import ProviderServices
from core.llm.providers.base.request import EmbeddingRequest
from core.llm.providers.base.response import EmbeddingResponse
from core.llm.providers.local_files import ModelRoots
from core.llm.providers.local_provider import FREE, LocalProvider
from core.llm.providers.transformers.config import TransformersConfig, TransformersModelOptions
from core.llm.providers.transformers.dialect import TransformersDialect, quirks_of
from core.llm.providers.transformers.local_model import LoadOptions, LocalModel, holds_to_schemas, missing_engine
from core.llm.providers.transformers.model_folder import FolderOptions

_CHATS: Final[frozenset[Capability]] = frozenset({"chat", "stream"})
_TOOLS: Final[frozenset[Capability]] = frozenset({"tools", "parallel_tools"})
_SCHEMAS: Final[frozenset[Capability]] = frozenset({"json", "json_schema"})
_EMBEDS: Final[frozenset[Capability]] = frozenset({"embeddings"})
_THINKS: Final[frozenset[Capability]] = frozenset({"thinking"})
# The engine writes an assistant message at the end into its prompt as the beginning of the answer.
_PREFILLED: Final = {"prefill": True}


class TransformersProvider(LocalProvider[LocalModel]):
    """The models of one entry of the configuration."""

    kind = "transformers"
    config: TransformersConfig

    def __init__(self, config: TransformersConfig, services: ProviderServices) -> None:
        schemas = config.schemas == "enforced" or (config.schemas == "auto" and holds_to_schemas())
        self._load = {name: _load_options(config, entry) for name, entry in config.models.items()}
        super().__init__(config, services, quirks_of(schemas=schemas, thinks=False), self._load)
        formats = {name: entry.prompt_format for name, entry in config.models.items() if entry.prompt_format}
        self.dialect = TransformersDialect(formats, self._thinks, schemas=schemas)
        self._schemas = _SCHEMAS if schemas else frozenset()

    def new_model(self, name: str) -> LocalModel:
        """A model that is loaded by Transformers."""
        return LocalModel(f"{self.name}/{name}", self._load[name], self.services)

    def missing_engine(self) -> str:
        """What to do about a machine without torch or Transformers."""
        return missing_engine()

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector per text, in order."""
        self._check(request.model)
        if request.dimensions is None and not self.config.models[request.model].embeddings:
            raise UnsupportedFeature(
                f"{self.name}/{request.model} is not to be used for embeddings: set `embeddings: true` for this model"
            )
        return await super().embed(request)

    def learn_facts(self, name: str, model: LocalModel) -> ModelFacts:
        """What the files of the model say."""
        entry, folder = self.config.models[name], model.folder
        if folder is None:
            return ModelFacts(context_window=entry.context_window, price=FREE, quirks=_PREFILLED)
        capabilities: frozenset[Capability] = frozenset()
        template = entry.chat_template or folder.template
        if folder.generates and (template or entry.prompt_format is not None):
            capabilities |= _CHATS | self._schemas
            if entry.prompt_format is None and "tools" in template:
                capabilities |= _TOOLS
            if "<think>" in template or "enable_thinking" in template:
                capabilities |= _THINKS
        if entry.embeddings or not folder.generates:
            capabilities |= _EMBEDS
        return ModelFacts(model.context_window, capabilities=capabilities, price=FREE, quirks=_PREFILLED)

    def describe(self, name: str, model: LocalModel) -> tuple[int | None, str]:  # noqa: ARG002 - its files say it all
        """The size of its weights, and its architecture."""
        folder = model.folder
        return (None, "") if folder is None else (folder.file_bytes, ", ".join(folder.architectures))

    def place(self, name: str, model: LocalModel | None) -> tuple[str, int | None]:
        """As large as its weights will be in the chosen type."""
        if model is None:
            return "", None
        entry, folder = self.config.models[name], model.folder
        return model.device, None if folder is None else folder.memory(entry.dtype, entry.quantization)

    def _thinks(self, model: str) -> bool:
        """Whether the template of *model* has a switch for thinking."""
        local, entry = self._models.get(model), self.config.models.get(model)
        template = (entry.chat_template if entry is not None else None) or (
            local.folder.template if local is not None and local.folder is not None else ""
        )
        return "enable_thinking" in template


def _load_options(config: TransformersConfig, entry: TransformersModelOptions) -> LoadOptions:
    folder = FolderOptions(
        path=entry.path,
        hub_id=entry.hub_id,
        revision=entry.revision,
        cache_dir=config.cache_dir,
        roots=ModelRoots(config.models_dir, config.model_roots),
        allow_pickle=entry.allow_pickle,
    )
    return LoadOptions(
        folder=folder,
        allow_download=entry.allow_download,
        trust_remote_code=entry.trust_remote_code,
        device=entry.device,
        dtype=entry.dtype,
        quantization=entry.quantization,
        max_batch=entry.max_batch,
        batch_wait=entry.batch_wait,
        n_threads=entry.n_threads or max(1, (os.cpu_count() or 2) // 2),
        attention=entry.attention,
        chat_template=entry.chat_template,
        context_window=entry.context_window,
        load_timeout=config.load_timeout,
        unload_timeout=config.unload_timeout,
        memory_limit=config.memory_limit,
        max_waiting=config.max_waiting,
    )
