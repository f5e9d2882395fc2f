"""The provider of one model in a class of the user: chat, embeddings, and its life in memory."""

import json
from typing import Final

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.types import Capability, ModelFacts
from core.llm.common.wire import HttpCall
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.provider import ProviderServices
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.custom.config import CustomConfig
from core.llm.providers.custom.own_file import OwnFileOptions
from core.llm.providers.custom.own_model import OwnModel, OwnOptions
from core.llm.providers.local_calls import CHAT, EMBED
from core.llm.providers.local_dialect import LocalDialect
from core.llm.providers.local_files import ModelRoots
from core.llm.providers.local_provider import FREE, LocalProvider

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


class OwnProvider(LocalProvider[OwnModel]):
    """One model of a custom provider."""

    kind = "custom"
    config: CustomConfig
    counts = "the answer of the class"

    def __init__(self, config: CustomConfig, model: str, services: ProviderServices) -> None:
        self._load = _options(config, model)
        super().__init__(config, services, _QUIRKS, {model: self._load})
        self._device = config.models[model].device
        wanted = config.models[model].prompt_format
        self.dialect = OwnDialect(_QUIRKS, {} if wanted is None else {model: wanted}, schema_field=None)

    def new_model(self, name: str) -> OwnModel:
        """A model that is loaded by a class of the user."""
        return OwnModel(f"{self.name}/{name}", self._load, self.services)

    def learn_facts(self, name: str, model: OwnModel) -> ModelFacts:  # noqa: ARG002 - there is one
        """What the class is known to do; whether it embeds is known once it has been loaded."""
        embeds = model.abilities.get("embeds", True)
        return ModelFacts(capabilities=_WRITES | _EMBEDS if embeds else _WRITES, price=FREE)

    def describe(self, name: str, model: OwnModel) -> tuple[int | None, str]:  # noqa: ARG002 - there is one
        """The size of its file, and its class."""
        return model.file_bytes, self._load.reference

    def place(self, name: str, model: OwnModel | None) -> tuple[str, int | None]:  # noqa: ARG002 - there is one
        """As large as its file until it has been measured."""
        device = {"auto": "cpu", "cuda": "cuda:0"}.get(self._device, self._device)
        return device, None if model is None else model.file_bytes


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
