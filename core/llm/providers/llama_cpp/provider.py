"""GGUF models on this machine as a provider: chat, embeddings, and the life of a model in memory."""

import json
import os
from typing import Final

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.types import Capability, ModelFacts
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.provider import ProviderServices
from core.llm.providers.base.request import EmbeddingRequest
from core.llm.providers.base.response import EmbeddingResponse
from core.llm.providers.llama_cpp.config import EMBEDDED, LlamaCppConfig, LlamaCppModelOptions
from core.llm.providers.llama_cpp.local_model import LoadOptions, LocalModel, missing_engine
from core.llm.providers.llama_cpp.model_file import FileOptions, Lora
from core.llm.providers.local_calls import CHAT, EMBED
from core.llm.providers.local_dialect import LocalDialect
from core.llm.providers.local_files import ModelRoots
from core.llm.providers.local_provider import FREE, LocalProvider

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


class LlamaCppProvider(LocalProvider[LocalModel]):
    """The models of one entry of the configuration."""

    kind = "llama_cpp"
    config: LlamaCppConfig

    def __init__(self, config: LlamaCppConfig, services: ProviderServices) -> None:
        self._load = {name: _load_options(config, entry) for name, entry in config.models.items()}
        super().__init__(config, services, _QUIRKS, self._load)
        formats = {name: entry.prompt_format for name, entry in config.models.items() if entry.prompt_format}
        self.dialect = LocalDialect(_QUIRKS, formats)

    def new_model(self, name: str) -> LocalModel:
        """A model that is loaded by llama.cpp."""
        return LocalModel(f"{self.name}/{name}", self._load[name], self.services)

    def missing_engine(self) -> str:
        """What to do about a machine without llama.cpp."""
        return missing_engine()

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector per text, in order."""
        self._check(request.model)
        if request.dimensions is None and not self._load[request.model].embeddings:
            raise UnsupportedFeature(
                f"{self.name}/{request.model} is loaded without embeddings: set `embeddings: true` for this model"
            )
        return await super().embed(request)

    def learn_facts(self, name: str, model: LocalModel) -> ModelFacts:
        """What the model file says."""
        options, file = model.options, model.file
        if file is None:
            return ModelFacts(context_window=options.n_ctx, price=FREE, quirks=_PREFILLED)
        chats = _CHATS if self.config.models[name].prompt_format is None else _CHATS - _TOOLS
        capabilities = frozenset() if file.header.has_pooling else chats
        if options.embeddings:
            capabilities |= _EMBEDS
        return ModelFacts(file.context(options.n_ctx), capabilities=capabilities, price=FREE, quirks=_PREFILLED)

    def describe(self, name: str, model: LocalModel) -> tuple[int | None, str]:  # noqa: ARG002 - its file says it all
        """The size of its file, and its architecture."""
        return (None, "") if model.file is None else (model.file.state.size, model.file.header.architecture)

    def place(self, name: str, model: LocalModel | None) -> tuple[str, int | None]:
        """As large as its file until it has been measured; on a GPU where layers or a GPU are asked for."""
        size = model.file.state.size if model is not None and model.file is not None else None
        layers, gpu = self._load[name].n_gpu_layers, self.config.models[name].engine.get("main_gpu")
        asked_for = layers != 0 and (layers is not None or gpu is not None)
        return (f"cuda:{gpu or 0}" if asked_for else "cpu"), size


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
