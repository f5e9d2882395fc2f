"""Gemini as a provider: chat, embeddings, model list, token counting and health, by key or on Vertex AI."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from core.llm.common.exceptions import ConfigError, ConfigIssue
from core.llm.common.types import ModelFacts
from core.llm.common.wire import HttpCall
from core.llm.data.facts import facts_from_row, model_facts, table
from core.llm.dialects.embedded_batches import JoinedBatches
from core.llm.dialects.gemini import GeminiDialect, decode_count
from core.llm.dialects.gemini_embeddings import EmbeddingMethod, decode_embeddings, encode_embeddings
from core.llm.dialects.gemini_endpoint import bare_name
from core.llm.dialects.gemini_models import ListedModel, models_from_gemini
from core.llm.providers.base.http_provider import HttpProvider
from core.llm.providers.base.provider import HealthReport, ModelInfo, ProviderServices, ResourceLease
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.response import EmbeddingResponse
from core.llm.providers.gemini.config import GeminiConfig
from core.llm.transport.bearer import BearerTransport
from core.llm.transport.google_token import google_tokens, is_available

_MOST_PAGES: Final = 50


class GeminiProvider(HttpProvider):
    """One account at the Gemini API, or one project and location at Vertex AI."""

    config: GeminiConfig

    def __init__(self, config: GeminiConfig, services: ProviderServices) -> None:
        self.endpoint = config.endpoint
        self._wire = GeminiDialect(self.endpoint, config.safety_settings)
        super().__init__(config, services, self._wire, base_url=config.url)
        self._tokens: ResourceLease | None = None
        self._facts: dict[str, ModelFacts] = {}

    async def start(self) -> None:
        """Take a share in the connection pool and, on Vertex AI without a key, in the access tokens. Fetches nothing.

        Raises:
            ConfigError: Vertex AI needs a package that is not installed.
        """
        vertex = self.config.vertex
        if vertex is not None and not self.config.has_key and not self._signs_itself():
            if not is_available():
                advice = "pip install 'core-llm[vertex]', or use an api_key"
                issue = ConfigIssue("needs google-auth, which is not installed", f"providers.{self.name}.vertex")
                raise ConfigError([replace(issue, suggestion=advice)])
            await super().start()
            clock, file = self.services.clock, vertex.credentials_file
            if self._tokens is None:
                key = ("google_tokens", file)
                self._tokens = self.services.resources.acquire(key, lambda: google_tokens(clock, file))
                self.transport = BearerTransport(self.transport, self._tokens.resource, vertex.quota_project)
            return
        await super().start()

    async def close(self) -> None:
        """Give both shares back."""
        tokens, self._tokens = self._tokens, None
        try:
            await super().close()
        finally:
            if tokens is not None:
                await tokens.release()

    def authorise(self, call: HttpCall, api_key: str | None) -> HttpCall:
        """*call* with the key in a header: what is in an address ends up in logs."""
        if not api_key:
            return call
        headers = {**call.headers, "x-goog-api-key": api_key}
        return HttpCall(call.method, call.path, call.body, headers, call.streaming, call.idempotent)

    def facts(self, model: str) -> ModelFacts:
        """What is known about *model*; the same object until something more is learnt."""
        facts = self._facts.get(model)
        if facts is None:
            facts = model_facts("gemini", bare_name(model))
            if not facts.capabilities and not facts.quirks:
                facts = facts_from_row(table("gemini")["otherwise"], "packaged")
            self._facts[model] = facts
        return facts

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector per input, in order; long lists travel in several requests.

        Raises:
            ProviderError: any of them failed, or the vectors are not what was asked for.
        """
        method, size = self._embedding(request.model)
        joined = JoinedBatches(request)
        for begin in range(0, len(request.inputs), size):
            inputs = request.inputs[begin : begin + size]
            headers, body = await self.call_json(encode_embeddings(request, inputs, self.endpoint, method), request)
            with self.located(request.model):
                joined.add(decode_embeddings(len(inputs), method, headers, body))
        return joined.response(self.name)

    async def count_tokens(self, request: ChatRequest) -> int:
        """Prompt tokens of *request*, tools and system instruction included. Costs nothing.

        Raises:
            ProviderError: the provider cannot be reached or refuses.
        """
        headers, body = await self.call_json(self._wire.encode_count(request), request)
        with self.located(request.model):
            return decode_count(headers, body)

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models on offer, with their limits where the provider tells them.

        Raises:
            ProviderError: the provider cannot be reached or refuses.
        """
        listed: list[ListedModel] = []
        page: str | None = None
        for _ in range(_MOST_PAGES):
            models, page = await self._listed(page)
            listed.extend(models)
            if page is None:
                break
        for entry in listed:
            facts = self.facts(entry.name)
            self._facts[entry.name] = replace(
                facts,
                context_window=facts.context_window or entry.context_window,
                max_output_tokens=facts.max_output_tokens or entry.max_output_tokens,
                capabilities=facts.capabilities or entry.capabilities,
            )
        return [ModelInfo(entry.name, self.facts(entry.name), detail=entry.detail) for entry in listed]

    async def health_check(self) -> HealthReport:
        """Ask for the model list, which costs no tokens."""
        return await self.report_of(self._offer())

    async def _offer(self) -> tuple[str, tuple[str, ...] | None]:
        models, page = await self._listed(None)
        # One page is enough to see that it works, and too little to say what it has not.
        is_all = page is None and not self.endpoint.vertex
        return f"{len(models)} models", tuple(entry.name for entry in models) if is_all else None

    async def _listed(self, page: str | None) -> tuple[list[ListedModel], str | None]:
        return await self.ask(self.endpoint.models_path(page), models_from_gemini)

    def _embedding(self, model: str) -> tuple[EmbeddingMethod, int]:
        if not self.endpoint.vertex:
            return "batch", self.config.embedding_batch_size
        quirks: Any = self.facts(model).quirks
        if quirks.get("vertex_embedding", "single") == "predict":
            return "predict", quirks.get("vertex_embedding_batch", self.config.embedding_batch_size)
        return "single", 1

    def _signs_itself(self) -> bool:
        return any(name.lower() in {"authorization", "x-goog-api-key"} for name in self.config.headers)
