"""Models of one's own as a provider: each is run by the provider of its engine, or by a class of the user."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.common.types import ModelFacts
from core.llm.common.wire import HttpCall
from core.llm.providers.base.load_gate import LoadGate
from core.llm.providers.base.provider import (
    BaseLLMProvider,
    HealthReport,
    ModelInfo,
    ModelStatus,
    ProgressCallback,
    ProviderServices,
    ResourceLease,
    Resources,
)
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.residency import Placement
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse, StreamEvent
from core.llm.providers.custom.config import CustomConfig
from core.llm.providers.custom.derived import BUILT_IN, engine_config, engine_of, engine_spec
from core.llm.providers.custom.licence import CustomGate
from core.llm.providers.custom.own_provider import OwnProvider


class CustomProvider(BaseLLMProvider):
    """The models of one entry of the configuration. Every question about a model goes to the part that runs it."""

    config: CustomConfig
    fixed_slots = True

    def __init__(self, config: CustomConfig, services: ProviderServices) -> None:
        super().__init__(config, services)
        self._gates = {model: _gate_of(config, model) for model in config.models}
        self._parts: dict[str, Any] = {model: self._part(model) for model in config.models}
        self.dialect = _Dialects(self._of)

    def _part(self, model: str) -> BaseLLMProvider:
        gate = self._gates[model]
        services = self.services
        if gate is not None:
            services = replace(services, load_gate=gate, resources=_Gated(services.resources, gate))
        engine = engine_of(self.config.models[model])
        if engine not in BUILT_IN:
            return OwnProvider(self.config, model, services)
        provider: BaseLLMProvider = engine_spec(engine).provider_class()(engine_config(self.config, model), services)
        return provider

    def _of(self, model: str) -> Any:
        """The part that runs *model*.

        Raises:
            ProviderError: there is no such model.
        """
        part = self._parts.get(model)
        if part is None:
            known = ", ".join(self._parts)
            message = f"no local model {model!r}: configured are {known}"
            raise ProviderError("model_not_found", message, provider=self.name, model=model)
        return part

    async def start(self) -> None:
        """Take the models over from an earlier configuration where they are unchanged; loads nothing."""
        await asyncio.gather(*(part.start() for part in self._parts.values()))

    async def close(self) -> None:
        """Give the models back; those that no configuration uses any more are unloaded."""
        await asyncio.gather(*(part.close() for part in self._parts.values()))

    async def generate(self, request: ChatRequest) -> LLMResponse:
        """The complete answer."""
        response: LLMResponse = await self._of(request.model).generate(request)
        return response

    def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """The answer as events."""
        events: AsyncIterator[StreamEvent] = self._of(request.model).stream_generate(request)
        return events

    def check(self, request: ChatRequest) -> None:
        """Refuse what the engine of the model cannot take."""
        self._of(request.model).check(request)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector per text, in order."""
        part = self._of(request.model)
        if not hasattr(part, "embed"):
            raise UnsupportedFeature(f"{self.name}/{request.model}: its engine makes no embeddings")
        response: EmbeddingResponse = await part.embed(request)
        return response

    async def count_tokens(self, request: ChatRequest) -> int:
        """Prompt tokens of *request*, counted by the model's own tokenizer where its engine gives access to it."""
        count: int = await self._of(request.model).count_tokens(request)
        return count

    def facts(self, model: str) -> ModelFacts:
        """What the engine knows about *model*."""
        part = self._parts.get(model)
        facts: ModelFacts = super().facts(model) if part is None else part.facts(model)
        return facts

    async def resolve_default_model(self) -> str:
        """The configured default, or the first of the models."""
        return self.config.default_model or next(iter(self._parts))

    async def health_check(self) -> HealthReport:
        """Whether the engines are installed and the files can be loaded; loads nothing."""
        reports = await asyncio.gather(*(part.health_check() for part in self._parts.values()))
        names = tuple(name for name, report in zip(self._parts, reports, strict=True) if report.healthy)
        broken = "; ".join(report.detail for report in reports if not report.healthy)
        return HealthReport(bool(names), broken or f"{len(names)} models", models=names)

    async def list_models(self) -> Sequence[ModelInfo]:
        """The configured models, with what is known of them."""
        listed = await asyncio.gather(*(part.list_models() for part in self._parts.values()))
        return [info for part in listed for info in part]

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        """Load *model*; also where it crashed so often that calls no longer start it.

        Raises:
            ModelLoadError: it cannot be loaded, or its licence check refuses; says why.
        """
        status: ModelStatus = await self._of(model).load_model(model, progress)
        return status

    async def unload_model(self, model: str) -> ModelStatus:
        """Take *model* out of memory; running calls may end first, for `unload_timeout`."""
        status: ModelStatus = await self._of(model).unload_model(model)
        return status

    async def cut_model(self, model: str) -> None:
        """Take *model* out of memory at once; its calls fail."""
        await self._of(model).cut_model(model)

    async def model_status(self, model: str) -> ModelStatus:
        """Where *model* is in its life."""
        status: ModelStatus = await self._of(model).model_status(model)
        return status

    def placement(self, model: str) -> Placement:
        """Where its engine puts it. What stands before its load is part of what it is."""
        placement: Placement = self._of(model).placement(model)
        gate = self._gates.get(model)
        return placement if gate is None else replace(placement, identity=(placement.identity, gate))

    def in_memory(self, model: str) -> bool:
        """Whether *model* can answer now."""
        part = self._parts.get(model)
        return part is not None and bool(part.in_memory(model))


class _Dialects:
    """The wire format of each model's engine."""

    def __init__(self, part_of: Callable[[str], Any]) -> None:
        self._part_of = part_of

    def encode(self, request: ChatRequest) -> HttpCall:
        """The call for *request*."""
        call: HttpCall = self._part_of(request.model).dialect.encode(request)
        return call


@dataclass(frozen=True, slots=True)
class _Gated:
    """Resources that are others where another gate stands before their load."""

    inner: Resources
    gate: LoadGate

    def acquire(self, key: Hashable, create: Callable[[], Any]) -> ResourceLease:
        """The resource of *key* behind this gate."""
        return self.inner.acquire((key, self.gate), create)


def _gate_of(config: CustomConfig, model: str) -> CustomGate | None:
    entry = config.models[model]
    digests = tuple(sorted(entry.sha256.items())) if isinstance(entry.sha256, Mapping) else ()
    if entry.licence_check is None and not digests:
        return None
    return CustomGate(engine_of(entry), entry.licence_check, config.licence_timeout, digests)
