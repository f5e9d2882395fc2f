"""Models on an LM Studio server: chat, embeddings, and their life in its memory."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelFacts
from core.llm.dialects.json import encode_json
from core.llm.providers.base.provider import (
    ModelInfo,
    ModelStatus,
    ProgressCallback,
    ProviderServices,
)
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.residency import Placement
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse, StreamEvent
from core.llm.providers.base.single_flight import within
from core.llm.providers.lm_studio.api import DownloadedModel, LMStudioApi
from core.llm.providers.lm_studio.config import LMStudioConfig
from core.llm.providers.lm_studio.dialect import QUIRKS, LMStudioDialect
from core.llm.providers.lm_studio.model_manager import LMStudioModelManager
from core.llm.providers.openai_server import OpenAIServerProvider, is_missing_endpoint

_BELIEVED: Final = 10.0
"""Seconds for which a model that was seen in memory is taken to be there still: others load and unload too."""


class LMStudioProvider(OpenAIServerProvider):
    """One LM Studio server."""

    config: LMStudioConfig
    product = "LM Studio"
    lists_at_least = True
    start_it = "start it in the app's Developer tab or with `lms server start`"

    def __init__(self, config: LMStudioConfig, services: ProviderServices) -> None:
        super().__init__(
            config, services, base_url=config.base_url, quirks=QUIRKS, batch_size=config.embedding_batch_size
        )
        self.dialect = LMStudioDialect(config)
        self.api = LMStudioApi(self.native(services))
        self.manager = LMStudioModelManager(self.api, config, services)
        self._seen: dict[str, float] = {}

    async def generate(self, request: ChatRequest) -> LLMResponse:
        """The complete answer. A model with load options is loaded with them first."""
        await self._ensure_loaded(request)
        try:
            return await super().generate(request)
        except ProviderError:
            self._seen.pop(request.model, None)
            raise

    def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """The answer as events. A model with load options is loaded with them first."""
        if not self.config.options_of(request.model):
            return super().stream_generate(request)
        return self._stream_loaded(request)

    async def _stream_loaded(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        await self._ensure_loaded(request)
        try:
            async with aclosing(super().stream_generate(request)) as events:  # type: ignore[type-var]  # an async generator, which has aclose
                async for event in events:
                    yield event
        except ProviderError:
            self._seen.pop(request.model, None)
            raise

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector per input, in order. A model with load options is loaded with them first."""
        await self._ensure_loaded(request)
        ttl = self.config.ttl_of(request.model)
        if ttl is not None and "ttl" not in request.extra:
            request = replace(request, extra={**request.extra, "ttl": ttl})
        return await super().embed(request)

    async def _ensure_loaded(self, request: ChatRequest | EmbeddingRequest) -> None:
        """Load a model that has load options, which LM Studio would otherwise load with its own."""
        model, clock = request.model, self.services.clock
        if not self.config.options_of(model) or clock.monotonic() < self._seen.get(model, 0.0):
            return
        left = request.limits.deadline_at - clock.monotonic()
        late = ProviderError(
            "timeout",
            f"{model!r} is still being loaded at the end of the call's time; the load goes on",
            code="deadline_exceeded",
        )
        with self.located(model):
            if left == float("inf"):
                await self.manager.load(model)
            else:
                await within(self.manager.load(model), left, clock, lambda: late)
        self._seen[model] = clock.monotonic() + _BELIEVED

    def facts(self, model: str) -> ModelFacts:
        """What the server has said about *model* so far, and the context that the configuration gives it."""
        known = super().facts(model)
        if known.context_window is None and (context := self.config.options_of(model).get("context_length")):
            known = self._facts[model] = replace(known, context_window=context)
        return known

    async def take_stock(self) -> tuple[tuple[str, ...], str]:
        """The models on disk, whose facts are learnt by the way."""
        models = await self._learn()
        loaded = sum(bool(model.instances) for model in models)
        return tuple(model.key for model in models), f"{len(models)} models, {loaded} in memory"

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models on disk with their facts, and which of them are in memory.

        Raises:
            ProviderError: the server cannot be reached or refuses.
        """
        try:
            models = await self._learn()
        except ProviderError as error:
            if is_missing_endpoint(error):
                return await super().list_models()
            raise error.at(self.name, None) from None
        return [self._info(model) for model in models]

    def _info(self, model: DownloadedModel) -> ModelInfo:
        return ModelInfo(
            model.key,
            self.facts(model.key),
            loaded=bool(model.instances),
            size_bytes=model.size_bytes,
            detail=model.detail,
        )

    def placement(self, model: str) -> Placement:
        """On a server that others use too; with other load options it is another thing in memory."""
        options = encode_json(dict(sorted(self.config.options_of(model).items())))
        return Placement(("lm_studio", self.base_url, model, options), owned=False)

    def stays_loaded(self, model: str) -> bool:  # noqa: ARG002 - it is so for all of them
        """Always: only what LM Studio has loaded for a call has a time to live."""
        return True

    async def loaded_models(self, known: Sequence[str]) -> Sequence[ModelStatus]:
        """Every model that has an instance, whoever loaded it; the size of the file stands for that in memory."""
        with self.located():
            models = await self.api.models()
        found: list[ModelStatus] = []
        for model in models:
            if model.instances:
                names = [name for name in known if model.answers_to(name)] or [model.key]
                found.extend(ModelStatus(name, "ready", model.size_bytes) for name in names)
        return found

    async def _learn(self) -> tuple[DownloadedModel, ...]:
        models = await self.api.models()
        for model in models:
            for name in (model.key, *model.variants, *(one.id for one in model.instances)):
                facts = model.facts(self.config.options_of(name).get("context_length"))
                if self._facts.get(name) != facts:
                    self._facts[name] = facts
        return models

    async def chat_models(self, configured: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """The language models on disk, and which of them have an instance, under the names they are configured by."""
        models = [model for model in await self._learn() if model.can_chat]
        loaded = [model for model in models if model.instances]
        known = [name for name in configured if any(model.answers_to(name) for model in loaded)]
        return [*known, *(model.key for model in loaded)], [model.key for model in models]

    async def pull_model(self, model: str, progress: ProgressCallback | None = None) -> ModelInfo:
        """Download *model* and return once it is on disk.

        Cancelling ends the wait only: LM Studio has no way to stop a download. The next pull joins it.
        """
        with self.located(model):
            await self.manager.pull(model, progress)
            models = await self._learn()
        found = [one for one in models if one.answers_to(model)]
        return self._info(found[0]) if found else ModelInfo(model)

    def forget(self) -> None:
        """Believe nothing any more about what is in memory."""
        self._seen.clear()
