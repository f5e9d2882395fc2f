"""The provider of one model in a class of the user: chat, embeddings, and its life in memory."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.types import Capability, ModelFacts
from core.llm.common.wire import HttpCall
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
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.residency import Placement
from core.llm.providers.custom.config import CustomConfig
from core.llm.providers.custom.own_file import OwnFileOptions
from core.llm.providers.custom.own_model import OwnModel, OwnOptions
from core.llm.providers.local_calls import CHAT, EMBED, LocalTransport
from core.llm.providers.local_dialect import LocalDialect
from core.llm.providers.local_files import ModelRoots
from core.llm.providers.local_provider import FREE, TEXTS_PER_CALL, LocalProvider

_QUIRKS: Final = OpenAIQuirks(
    chat_path=CHAT, embeddings_path=EMBED, thinking="none", document="none", audio=False, rejects=frozenset({"user"})
)
_WRITES: Final[frozenset[Capability]] = frozenset({"chat", "stream"})
_EMBEDS: Final[frozenset[Capability]] = frozenset({"embeddings"})


class OwnDialect(LocalDialect):
    """The OpenAI format without what a class of the user cannot answer."""

    __slots__ = ()

    def encode(self, request: ChatRequest) -> HttpCall:
        """The call for *request*.

        Raises:
            UnsupportedFeature: it has tools, and nothing but text comes back from such a class.
        """
        if request.params.tools and request.params.tool_choice != "none":
            raise UnsupportedFeature(f"{request.provider}/{request.model}: a class of your own cannot call tools")
        return super().encode(request)


class OwnProvider(LocalProvider):
    """One model of a custom provider."""

    config: CustomConfig
    counts = "the answer of the class"

    def __init__(self, config: CustomConfig, model: str, services: ProviderServices) -> None:
        super().__init__(config, services, base_url="", quirks=_QUIRKS, batch_size=TEXTS_PER_CALL)
        self._name = model
        self._entry = config.models[model]
        formats = {} if self._entry.prompt_format is None else {model: self._entry.prompt_format}
        self.dialect = OwnDialect(_QUIRKS, formats, schema_field=None)
        self._options = _options(config, model)
        self._lease_of_model: ResourceLease | None = None
        self._learnt: dict[frozenset[Capability], ModelFacts] = {}

    async def start(self) -> None:
        """Take the model over from an earlier configuration where it is unchanged; loads nothing."""
        if self._lease_of_model is None:
            key = ("custom", self.name, self._name, self._options)
            self._lease_of_model = self.services.resources.acquire(key, self._new_model)
            self.transport = LocalTransport(lambda _: self._model())
            await self._model().look()

    def _new_model(self) -> OwnModel:
        return OwnModel(f"{self.name}/{self._name}", self._options, self.services)

    async def close(self) -> None:
        """Give the model back; one that no configuration uses any more is unloaded."""
        lease, self._lease_of_model = self._lease_of_model, None
        if lease is not None:
            await lease.release()

    def facts(self, model: str) -> ModelFacts:  # noqa: ARG002 - there is one
        """What the class is known to do; whether it embeds is known once it has been loaded."""
        embeds = self._lease_of_model is None or self._model().abilities.get("embeds", True)
        capabilities = _WRITES | _EMBEDS if embeds else _WRITES
        if capabilities not in self._learnt:
            self._learnt[capabilities] = ModelFacts(capabilities=capabilities, price=FREE)
        return self._learnt[capabilities]

    async def health_check(self) -> HealthReport:
        """Whether its file is there; loads nothing."""
        model = self._model()
        await model.look()
        return HealthReport(model.serves, model.problem, models=(self._name,) if model.serves else ())

    async def list_models(self) -> Sequence[ModelInfo]:
        """The model, with what is known of it."""
        model = self._model()
        await model.look()
        file = model.file
        size = file.state.size if file is not None and file.state is not None else None
        detail = model.problem or self._options.reference
        return [
            ModelInfo(self._name, self.facts(self._name), loaded=model.pid is not None, size_bytes=size, detail=detail)
        ]

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        """Load the model; also where it crashed so often that calls no longer start it.

        Raises:
            ModelLoadError: it cannot be loaded; says why and holds what the class printed.
        """
        if progress is not None:
            progress(Progress("loading"))
        await self._model().load(force=True)
        if progress is not None:
            progress(Progress("ready"))
        return await self.model_status(model)

    async def unload_model(self, model: str) -> ModelStatus:
        """Take the model out of memory; running calls may end first, for `unload_timeout`."""
        await self._model().unload()
        return await self.model_status(model)

    async def model_status(self, model: str) -> ModelStatus:
        """Where the model is in its life."""
        return replace(self._model().status(), model=model)

    def placement(self, model: str) -> Placement:
        """A process of its own for each way of loading; as large as its file until it has been measured."""
        found = self._model().file if self._lease_of_model is not None else None
        size = found.state.size if found is not None and found.state is not None else None
        device = {"auto": "cpu", "cuda": "cuda:0"}.get(self._entry.device, self._entry.device)
        identity = ("custom", self.name, model, self._options)
        return Placement(identity, owned=True, device=device, size_bytes=size)

    def in_memory(self, model: str) -> bool:  # noqa: ARG002 - there is one
        """Whether the class has loaded it."""
        return self._lease_of_model is not None and self._model().pid is not None

    def _model(self) -> OwnModel:
        if self._lease_of_model is None:
            raise ProviderError("server_error", "this provider has not been started", code="not_started")
        model: OwnModel = self._lease_of_model.resource
        return model


def _options(config: CustomConfig, model: str) -> OwnOptions:
    entry = config.models[model]
    settings = {
        "model_path": None,
        "device": entry.device,
        "quantization": entry.quantization,
        "cache_dir": entry.cache_dir,
        "options": dict(entry.options),
    }
    digest = entry.sha256 if isinstance(entry.sha256, str) else None
    roots = ModelRoots(config.models_dir, config.model_roots)
    return OwnOptions(
        reference=entry.engine or "",
        file=OwnFileOptions(entry.model_path, roots, digest, entry.allow_pickle),
        settings=json.dumps(settings, sort_keys=True),
        isolation=entry.isolation,
        parallel=entry.parallel,
        load_timeout=config.load_timeout,
        unload_timeout=config.unload_timeout,
        memory_limit=config.memory_limit,
        max_waiting=config.max_waiting,
    )
