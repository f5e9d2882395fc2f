"""Hugging Face models on this machine as a provider: chat, embeddings, and the life of a model in memory."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.types import Capability, ModelFacts
from core.llm.providers.base.provider import (
    HealthReport,
    ModelInfo,
    ModelStatus,
    ProgressCallback,
    ProviderServices,
    ResourceLease,
)
from core.llm.providers.base.request import EmbeddingRequest
from core.llm.providers.base.residency import Placement
from core.llm.providers.base.response import EmbeddingResponse
from core.llm.providers.local_calls import LocalTransport
from core.llm.providers.local_files import ModelRoots
from core.llm.providers.local_provider import FREE, TEXTS_PER_CALL, LocalProvider
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


class TransformersProvider(LocalProvider):
    """The models of one entry of the configuration."""

    config: TransformersConfig

    def __init__(self, config: TransformersConfig, services: ProviderServices) -> None:
        schemas = config.schemas == "enforced" or (config.schemas == "auto" and holds_to_schemas())
        quirks = quirks_of(schemas=schemas, thinks=False)
        super().__init__(config, services, base_url="", quirks=quirks, batch_size=TEXTS_PER_CALL)
        formats = {name: entry.prompt_format for name, entry in config.models.items() if entry.prompt_format}
        self.dialect = TransformersDialect(formats, self._thinks, schemas=schemas)
        self._schemas = _SCHEMAS if schemas else frozenset()
        self._models: dict[str, LocalModel] = {}
        self._leases: list[ResourceLease] = []
        self._known: dict[str, tuple[object, ModelFacts]] = {}

    async def start(self) -> None:
        """Take the models over from an earlier configuration where they are unchanged; loads nothing."""
        if self._leases:
            return
        for name, entry in self.config.models.items():
            options = _load_options(self.config, entry)
            key = ("transformers", self.name, name, options)
            lease = self.services.resources.acquire(key, partial(self._new_model, name, options))
            self._leases.append(lease)
            self._models[name] = lease.resource
        self.transport = LocalTransport(self._model)
        await asyncio.gather(*[model.look() for model in self._models.values()])

    def _new_model(self, name: str, options: LoadOptions) -> LocalModel:
        return LocalModel(f"{self.name}/{name}", options, self.services)

    async def close(self) -> None:
        """Give the models back; those that no configuration uses any more are unloaded."""
        leases, self._leases = self._leases, []
        await asyncio.gather(*[lease.release() for lease in leases])

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector per text, in order."""
        if request.dimensions is None and not self._entry(request.model).embeddings:
            raise UnsupportedFeature(
                f"{self.name}/{request.model} is not to be used for embeddings: set `embeddings: true` for this model"
            )
        return await super().embed(request)

    def facts(self, model: str) -> ModelFacts:
        """What the files of the model say; free of charge."""
        local = self._models.get(model)
        if local is None:
            return ModelFacts()
        known = self._known.get(model)
        if known is None or known[0] is not local.folder:
            known = self._known[model] = (local.folder, self._facts_of(local, self.config.models[model]))
        return known[1]

    def _facts_of(self, model: LocalModel, entry: TransformersModelOptions) -> ModelFacts:
        folder = model.folder
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

    def _thinks(self, model: str) -> bool:
        """Whether the template of *model* has a switch for thinking."""
        local, entry = self._models.get(model), self.config.models.get(model)
        template = (entry.chat_template if entry is not None else None) or (
            local.folder.template if local is not None and local.folder is not None else ""
        )
        return "enable_thinking" in template

    async def resolve_default_model(self) -> str:
        """The configured default, or the first of the models."""
        return self.config.default_model or next(iter(self.config.models))

    async def health_check(self) -> HealthReport:
        """Whether the libraries are installed and the models can be loaded; loads nothing."""
        if missing := missing_engine():
            return HealthReport(False, missing)
        await asyncio.gather(*[model.look() for model in self._models.values()])
        broken = [model.problem for model in self._models.values() if model.problem]
        names = tuple(name for name, model in self._models.items() if model.serves)
        return HealthReport(bool(names), "; ".join(broken) or f"{len(names)} models", models=names)

    async def list_models(self) -> Sequence[ModelInfo]:
        """The configured models, with what is known of their files."""
        await asyncio.gather(*[model.look() for model in self._models.values()])
        return [
            ModelInfo(
                name,
                self.facts(name),
                loaded=model.pid is not None,
                size_bytes=model.folder.file_bytes if model.folder else None,
                detail=model.problem or ", ".join(model.folder.architectures if model.folder else ()),
            )
            for name, model in self._models.items()
        ]

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        """Load *model*; also where it crashed so often that calls no longer start it.

        Raises:
            ModelLoadError: it cannot be loaded; says why and holds what the worker printed.
        """
        await self._model(model).load_telling(progress)
        return await self.model_status(model)

    async def unload_model(self, model: str) -> ModelStatus:
        """End the process of *model*; running calls may end first, for `unload_timeout`."""
        await self._model(model).unload()
        return await self.model_status(model)

    async def model_status(self, model: str) -> ModelStatus:
        """Where *model* is in its life, with its memory and process."""
        return replace(await self._model(model).measured(), model=model)

    def placement(self, model: str) -> Placement:
        """A process of its own for each way of loading; as large as its weights will be in the chosen type."""
        entry = self._entry(model)
        local = self._models.get(model)
        identity = ("transformers", self.name, model, _load_options(self.config, entry))
        if local is None:
            return Placement(identity, owned=True)
        folder = local.folder
        size = folder.memory(entry.dtype, entry.quantization) if folder is not None else None
        return Placement(identity, owned=True, device=local.device, size_bytes=size)

    def in_memory(self, model: str) -> bool:
        """Whether the process of *model* is there and has loaded it."""
        local = self._models.get(model)
        return local is not None and local.pid is not None

    def _model(self, name: str) -> LocalModel:
        self._entry(name)
        local = self._models.get(name)
        if local is None:
            raise ProviderError("server_error", "this provider has not been started", code="not_started")
        return local

    def _entry(self, name: str) -> TransformersModelOptions:
        entry = self.config.models.get(name)
        if entry is None:
            known = ", ".join(self.config.models)
            message = f"no local model {name!r}: configured are {known}"
            raise ProviderError("model_not_found", message, provider=self.name, model=name)
        return entry


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
