"""What providers of models in processes of this machine share: their models, and calls that are addressed to one."""

import asyncio
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import ClassVar, Final, Generic, TypeVar
from urllib.parse import quote

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.types import ModelFacts, Price
from core.llm.common.wire import HttpCall
from core.llm.dialects.json import parse_object, schema_error
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.provider import (
    HealthReport,
    ModelInfo,
    ModelStatus,
    ProgressCallback,
    ProviderServices,
    ResourceLease,
)
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.residency import Placement
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse, ResponseCollector
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.local_calls import COUNT, LocalTransport
from core.llm.providers.local_models import WorkerModel
from core.llm.providers.openai_style import OpenAIStyleProvider

TEXTS_PER_CALL: Final = 32
"""Texts embedded at once; between two such batches other calls get their turn."""
FREE: Final = Price(Decimal(0), Decimal(0), source="local")

ModelT = TypeVar("ModelT", bound=WorkerModel)


class LocalProvider(OpenAIStyleProvider, Generic[ModelT]):
    """Speaks the OpenAI format with the engines of its models, each behind a path of its own.

    A subclass says how a model is made, and what is known about it without loading it.
    """

    fixed_slots = True
    kind: ClassVar[str]
    """Its type in the configuration, which keeps its models apart from those of other types."""
    counts: str = "the engine's answer"
    """Whose answer holds the count of tokens, for the message where it does not."""

    def __init__(
        self, config: ProviderConfig, services: ProviderServices, quirks: OpenAIQuirks, options: Mapping[str, Hashable]
    ) -> None:
        """*options* holds everything that decides how a model is loaded, by the name of the model."""
        super().__init__(config, services, base_url="", quirks=quirks, batch_size=TEXTS_PER_CALL)
        self._options = options
        self._models: dict[str, ModelT] = {}
        self._leases: list[ResourceLease] = []
        self._known: dict[str, tuple[object, ModelFacts]] = {}

    @abstractmethod
    def new_model(self, name: str) -> ModelT:
        """The model of that name, which is not loaded yet."""

    @abstractmethod
    def learn_facts(self, name: str, model: ModelT) -> ModelFacts:
        """What is known about *model* by what was found when it was looked at."""

    @abstractmethod
    def describe(self, name: str, model: ModelT) -> tuple[int | None, str]:
        """The size of its files, and what they hold, in a few words."""

    @abstractmethod
    def place(self, name: str, model: ModelT | None) -> tuple[str, int | None]:
        """On which device it lies, and how much memory it takes; *model* is `None` before the start."""

    def missing_engine(self) -> str:
        """What to do about a machine without the engine; empty where nothing is missing."""
        return ""

    async def start(self) -> None:
        """Take the models over from an earlier configuration where they are unchanged; loads nothing."""
        if self._leases:
            return
        for name in self._options:
            lease = self.services.resources.acquire(self._identity(name), partial(self.new_model, name))
            self._leases.append(lease)
            self._models[name] = lease.resource
        self.transport = LocalTransport(self._model)
        await self._look()

    async def close(self) -> None:
        """Give the models back; those that no configuration uses any more are unloaded."""
        leases, self._leases = self._leases, []
        await asyncio.gather(*[lease.release() for lease in leases])

    # What is known without loading anything.

    def facts(self, model: str) -> ModelFacts:
        """What is known about *model*; free of charge."""
        local = self._models.get(model)
        if local is None:
            return ModelFacts()
        known = self._known.get(model)
        if known is None or known[0] is not local.found:
            known = self._known[model] = (local.found, self.learn_facts(model, local))
        return known[1]

    async def resolve_default_model(self) -> str:
        """The configured default, or the first of the models."""
        return self.config.default_model or next(iter(self._options))

    async def health_check(self) -> HealthReport:
        """Whether the engine is there and the files can be loaded; loads nothing."""
        if missing := self.missing_engine():
            return HealthReport(False, missing)
        await self._look()
        broken = [model.problem for model in self._models.values() if model.problem]
        names = tuple(name for name, model in self._models.items() if model.serves)
        return HealthReport(bool(names), "; ".join(broken) or f"{len(names)} models", models=names)

    async def list_models(self) -> Sequence[ModelInfo]:
        """The configured models, with what is known of their files."""
        await self._look()
        return [self._info(name, model) for name, model in self._models.items()]

    def placement(self, model: str) -> Placement:
        """A process of its own for each way of loading."""
        self._check(model)
        device, size = self.place(model, self._models.get(model))
        return Placement(self._identity(model), owned=True, device=device, size_bytes=size)

    def in_memory(self, model: str) -> bool:
        """Whether the process of *model* is there and has loaded it."""
        local = self._models.get(model)
        return local is not None and local.pid is not None

    # The life of a model.

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

    async def cut_model(self, model: str) -> None:
        """End the process of *model* at once; its calls fail."""
        await self._model(model).unload(cut=True)

    async def model_status(self, model: str) -> ModelStatus:
        """Where *model* is in its life, with its memory and process."""
        return replace(await self._model(model).measured(), model=model)

    # Calls.

    async def generate(self, request: ChatRequest) -> LLMResponse:
        """The complete answer. The engine streams it nevertheless: only a stream can be stopped half-way."""
        collector = ResponseCollector()
        async with aclosing(self.stream_generate(replace(request, stream=True))) as events:  # type: ignore[type-var]  # it is an async generator, which has aclose
            async for event in events:
                collector.add(event)
        return collector.response()

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector per text, in order."""
        if request.dimensions is not None:
            raise UnsupportedFeature(f"{self.name} cannot shorten vectors: leave `dimensions` out")
        return await super().embed(request)

    async def call_json(
        self, call: HttpCall, request: ChatRequest | EmbeddingRequest
    ) -> tuple[Mapping[str, str], bytes]:
        """As in the base, addressed to the model of *request*."""
        return await super().call_json(replace(call, path=f"/{quote(request.model, safe='')}{call.path}"), request)

    async def count_tokens(self, request: ChatRequest) -> int:
        """Prompt tokens of *request*, counted by the model's own tokenizer, template and tools included."""
        body = self.dialect.encode(replace(request, warnings=[])).body
        _, answer = await self.call_json(HttpCall("POST", COUNT, body), request)
        count = parse_object(answer).get("input_tokens")
        if type(count) is not int:
            raise schema_error(f"{self.counts} holds no token count").at(self.name, request.model)
        return count

    def _identity(self, name: str) -> Hashable:
        return (self.kind, self.name, name, self._options[name])

    async def _look(self) -> None:
        await asyncio.gather(*[model.look() for model in self._models.values()])

    def _info(self, name: str, model: ModelT) -> ModelInfo:
        size, detail = self.describe(name, model)
        loaded = model.pid is not None
        return ModelInfo(name, self.facts(name), loaded=loaded, size_bytes=size, detail=model.problem or detail)

    def _model(self, name: str) -> ModelT:
        self._check(name)
        local = self._models.get(name)
        if local is None:
            raise ProviderError("server_error", "this provider has not been started", code="not_started")
        return local

    def _check(self, name: str) -> None:
        """Refuse a *name* that no model has."""
        if name not in self._options:
            known = ", ".join(self._options)
            message = f"no local model {name!r}: configured are {known}"
            raise ProviderError("model_not_found", message, provider=self.name, model=name)
