"""GGUF models on this machine as a provider: chat, embeddings, and the life of a model in memory."""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.types import Capability, ModelFacts
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.provider import (
    HealthReport,
    ModelInfo,
    ModelStatus,
    Progress,
    ProgressCallback,
    ProviderServices,
    ResourceLease,
)
from core.llm.providers.base.request import EmbeddingRequest
from core.llm.providers.base.residency import Placement
from core.llm.providers.base.response import EmbeddingResponse
from core.llm.providers.llama_cpp.config import EMBEDDED, LlamaCppConfig, LlamaCppModelOptions
from core.llm.providers.llama_cpp.local_model import LoadOptions, LocalModel, missing_engine
from core.llm.providers.llama_cpp.model_file import FileOptions, Lora
from core.llm.providers.local_calls import CHAT, EMBED, LocalTransport
from core.llm.providers.local_dialect import LocalDialect
from core.llm.providers.local_files import ModelRoots
from core.llm.providers.local_provider import FREE, TEXTS_PER_CALL, LocalProvider

_QUIRKS: Final = OpenAIQuirks(
    chat_path=CHAT,
    embeddings_path=EMBED,
    thinking="none",
    grammar_schema=True,
    document="none",
    audio=False,
    rejects=frozenset({"user"}),
)
_CHATS: Final[frozenset[Capability]] = frozenset({"chat", "stream", "tools", "parallel_tools", "json", "json_schema"})
_TOOLS: Final[frozenset[Capability]] = frozenset({"tools", "parallel_tools"})
_EMBEDS: Final[frozenset[Capability]] = frozenset({"embeddings"})
# The engine writes an assistant message at the end into its prompt as the beginning of the answer.
_PREFILLED: Final = {"prefill": True}


class LlamaCppProvider(LocalProvider):
    """The models of one entry of the configuration."""

    config: LlamaCppConfig

    def __init__(self, config: LlamaCppConfig, services: ProviderServices) -> None:
        super().__init__(config, services, base_url="", quirks=_QUIRKS, batch_size=TEXTS_PER_CALL)
        formats = {name: entry.prompt_format for name, entry in config.models.items() if entry.prompt_format}
        self.dialect = LocalDialect(_QUIRKS, formats)
        self._models: dict[str, LocalModel] = {}
        self._leases: list[ResourceLease] = []
        self._known: dict[str, tuple[object, ModelFacts]] = {}

    async def start(self) -> None:
        """Take the models over from an earlier configuration where they are unchanged; loads nothing."""
        if self._leases:
            return
        for name, entry in self.config.models.items():
            options = _load_options(self.config, entry)
            key = ("llama_cpp", self.name, name, options)
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
                f"{self.name}/{request.model} is loaded without embeddings: set `embeddings: true` for this model"
            )
        return await super().embed(request)

    def facts(self, model: str) -> ModelFacts:
        """What the model file says; free of charge."""
        local = self._models.get(model)
        if local is None:
            return ModelFacts()
        known = self._known.get(model)
        if known is None or known[0] is not local.file:
            chats = _CHATS if self.config.models[model].prompt_format is None else _CHATS - _TOOLS
            known = self._known[model] = (local.file, _facts_of(local, chats))
        return known[1]

    async def resolve_default_model(self) -> str:
        """The configured default, or the first of the models."""
        return self.config.default_model or next(iter(self.config.models))

    async def health_check(self) -> HealthReport:
        """Whether the engine is installed and the files can be loaded; loads nothing."""
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
                size_bytes=model.file.state.size if model.file else None,
                detail=model.problem or (model.file.header.architecture if model.file else ""),
            )
            for name, model in self._models.items()
        ]

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        """Load *model*; also where it crashed so often that calls no longer start it.

        Raises:
            ModelLoadError: the file cannot be loaded; says why and holds what the engine printed.
        """
        local = self._model(model)
        if progress is not None:
            progress(Progress("loading"))
        await local.load(force=True)
        if progress is not None:
            progress(Progress("ready"))
        return self._status(model)

    async def unload_model(self, model: str) -> ModelStatus:
        """End the process of *model*; running calls may end first, for `unload_timeout`."""
        await self._model(model).unload()
        return self._status(model)

    async def model_status(self, model: str) -> ModelStatus:
        """Where *model* is in its life, with its memory and process."""
        self._model(model)
        return self._status(model)

    def placement(self, model: str) -> Placement:
        """A process of its own for each way of loading; as large as the file until it has been measured."""
        entry = self._entry(model)
        local = self._models.get(model)
        identity = ("llama_cpp", self.name, model, _load_options(self.config, entry))
        size = local.file.state.size if local is not None and local.file is not None else None
        return Placement(identity, owned=True, device="cuda:0" if entry.n_gpu_layers else "cpu", size_bytes=size)

    def in_memory(self, model: str) -> bool:
        """Whether the process of *model* is there and has loaded it."""
        local = self._models.get(model)
        return local is not None and local.pid is not None

    def _status(self, model: str) -> ModelStatus:
        return replace(self._models[model].status(), model=model)

    def _model(self, name: str) -> LocalModel:
        self._entry(name)
        local = self._models.get(name)
        if local is None:
            raise ProviderError("server_error", "this provider has not been started", code="not_started")
        return local

    def _entry(self, name: str) -> LlamaCppModelOptions:
        entry = self.config.models.get(name)
        if entry is None:
            known = ", ".join(self.config.models)
            message = f"no local model {name!r}: configured are {known}"
            raise ProviderError("model_not_found", message, provider=self.name, model=name)
        return entry


def _load_options(config: LlamaCppConfig, entry: LlamaCppModelOptions) -> LoadOptions:
    embedded = entry.path == EMBEDDED
    return LoadOptions(
        files=FileOptions(
            path=entry.path,
            roots=ModelRoots(config.models_dir, config.model_roots),
            sha256=entry.sha256,
            lora=tuple(Lora(lora.path, lora.scale, lora.sha256) for lora in entry.lora),
        ),
        n_ctx=entry.n_ctx,
        n_parallel=entry.n_parallel or (4 if embedded else 1),
        n_threads=entry.n_threads or (1 if embedded else max(1, (os.cpu_count() or 2) // 2)),
        n_gpu_layers=entry.n_gpu_layers,
        n_batch=entry.n_batch,
        chat_template=entry.chat_template,
        embeddings=entry.embeddings,
        mmap=entry.mmap,
        prompt_cache=entry.prompt_cache,
        engine=json.dumps(dict(entry.engine), sort_keys=True),
        load_timeout=config.load_timeout,
        unload_timeout=config.unload_timeout,
        memory_limit=config.memory_limit,
        max_waiting=config.max_waiting,
    )


def _facts_of(model: LocalModel, chats: frozenset[Capability]) -> ModelFacts:
    options, file = model.options, model.file
    if file is None:
        return ModelFacts(context_window=options.n_ctx, price=FREE, quirks=_PREFILLED)
    capabilities = frozenset() if file.header.has_pooling else chats
    if options.embeddings:
        capabilities |= _EMBEDS
    return ModelFacts(file.context(options.n_ctx), capabilities=capabilities, price=FREE, quirks=_PREFILLED)
