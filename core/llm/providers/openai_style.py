"""What every provider that speaks the OpenAI format does besides chat: credentials, embeddings, model list, health.

It lies between `providers/base` and the folders of the single providers, which add what is theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.llm.common.types import ModelFacts
from core.llm.common.wire import HttpCall
from core.llm.dialects.embedded_batches import JoinedBatches
from core.llm.dialects.openai_chat import OpenAIChatDialect
from core.llm.dialects.openai_embeddings import decode_embeddings, encode_embeddings
from core.llm.dialects.openai_endpoints import Endpoint, OpenAIEndpoints
from core.llm.dialects.openai_models import ListedModel, models_from_openai
from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.base.http_provider import HttpProvider
from core.llm.providers.base.provider import HealthReport, ModelInfo, ProviderServices
from core.llm.providers.base.request import EmbeddingRequest
from core.llm.providers.base.response import EmbeddingResponse


class OpenAIStyleProvider(HttpProvider):
    """Chat, embeddings and model list over the OpenAI format."""

    def __init__(
        self,
        config: Any,
        services: ProviderServices,
        *,
        base_url: str,
        quirks: OpenAIQuirks,
        batch_size: int,
        api: Endpoint = "chat",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        # Where there is no choice of endpoint, nothing is asked for each request.
        dialect = OpenAIChatDialect(quirks) if api == "chat" else OpenAIEndpoints(quirks, api)
        super().__init__(config, services, dialect, base_url=base_url)
        self.quirks = quirks
        self._batch_size = batch_size
        self._own_headers = dict(headers or {})
        self._facts: dict[str, ModelFacts] = {}

    def authorise(self, call: HttpCall, api_key: str | None) -> HttpCall:
        """*call* with the key as a bearer token, and the headers that belong to the account."""
        headers = {**call.headers, **self._own_headers}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        return HttpCall(call.method, call.path, call.body, headers, call.streaming, call.idempotent)

    def facts(self, model: str) -> ModelFacts:
        """What is known about *model*; the same object until something more is learnt."""
        facts = self._facts.get(model)
        if facts is None:
            facts = self._facts[model] = self.packaged_facts(model)
        return facts

    def packaged_facts(self, model: str) -> ModelFacts:  # noqa: ARG002 - for subclasses
        """What the packaged data says about *model*."""
        return ModelFacts()

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector per input, in order; long lists travel in several requests.

        Raises:
            ProviderError: any of them failed, or the vectors are not what was asked for.
        """
        joined = JoinedBatches(request)
        for begin in range(0, len(request.inputs), self._batch_size):
            inputs = request.inputs[begin : begin + self._batch_size]
            headers, body = await self.call_json(self.embedding_call(request, inputs), request)
            with self.located(request.model):
                joined.add(decode_embeddings(len(inputs), self.quirks, headers, body))
        return joined.response(self.name)

    def embedding_call(self, request: EmbeddingRequest, inputs: Sequence[str]) -> HttpCall:
        """The HTTP call for *inputs*, which are all or some of those of *request*."""
        return encode_embeddings(request, inputs, self.quirks)

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models the server offers, with its context windows where it tells them.

        Raises:
            ProviderError: the server cannot be reached or refuses.
        """
        listed = await self._listed()
        for entry in listed:
            facts = self.facts(entry.name)
            if entry.context_window is not None and facts.context_window is None:
                self._facts[entry.name] = replace(facts, context_window=entry.context_window)
        return [ModelInfo(entry.name, self.facts(entry.name), detail=entry.owner) for entry in listed]

    async def health_check(self) -> HealthReport:
        """Ask for the model list, which costs no tokens."""
        return await self.report_of(self._offer())

    async def _offer(self) -> tuple[str, tuple[str, ...]]:
        names = tuple(entry.name for entry in await self._listed())
        return f"{len(names)} models", names

    async def _listed(self) -> list[ListedModel]:
        return await self.ask(self.quirks.models_path, models_from_openai)
