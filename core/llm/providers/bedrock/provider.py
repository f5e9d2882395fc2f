"""AWS Bedrock as a provider: chat over Converse, embeddings over InvokeModel, token counts, the model list."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import CallWarning, ModelFacts
from core.llm.common.wire import HttpCall, Transport
from core.llm.data.facts import model_facts
from core.llm.dialects.embedded_batches import EmbeddedBatch, JoinedBatches
from core.llm.dialects.headers import JSON_HEADERS
from core.llm.dialects.json import encode_json, parse_object, schema_error
from core.llm.providers.base.http_provider import HttpProvider
from core.llm.providers.base.provider import HealthReport, ModelInfo, ProviderServices, ResourceLease
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.response import EmbeddingResponse
from core.llm.providers.bedrock.access import (
    ambient_key,
    check_signer,
    control_url,
    credentials_of,
    region_of,
    runtime_url,
)
from core.llm.providers.bedrock.catalogue import MODELS_PATH, merged, models_from_bedrock
from core.llm.providers.bedrock.config import BedrockConfig
from core.llm.providers.bedrock.converse import ConverseDialect
from core.llm.providers.bedrock.embeddings import (
    Family,
    batches,
    decode_embeddings,
    encode_embeddings,
    family_of,
)
from core.llm.providers.bedrock.encode import count_body
from core.llm.providers.bedrock.naming import base_model, model_path
from core.llm.transport.aws_signing import ServerTime, SigningTransport


class BedrockProvider(HttpProvider):
    """One AWS account in one region."""

    config: BedrockConfig

    def __init__(self, config: BedrockConfig, services: ProviderServices) -> None:
        super().__init__(config, services, ConverseDialect(config), base_url=config.base_url or "")
        self._facts: dict[str, ModelFacts] = {}
        self._credentials = credentials_of(config)
        self._time = ServerTime(services.clock)
        self._ambient_key: str | None = None
        self._control: Transport | None = None
        self._control_lease: ResourceLease | None = None

    async def start(self) -> None:
        """Find the region and take shares in the connection pools. Connects to nothing.

        Raises:
            ConfigError: no region is configured anywhere, or calls would have to be signed and cannot be.
        """
        if self._control_lease is not None:
            return
        self._ambient_key = ambient_key(self.config)
        if not (self._ambient_key or self._first_key()):
            check_signer(self.name)
        region = await region_of(self.config, self.name)
        self.base_url = runtime_url(self.config, region)
        await super().start()
        self.transport = self._signing(self.transport, self.base_url, region)
        options = replace(self.http_options(), base_url=control_url(self.config, region))
        self._control_lease = self.services.resources.acquire(("http", self.name, options), lambda: self._open(options))
        self._control = self._signing(self._control_lease.resource, options.base_url, region)

    async def close(self) -> None:
        """Give the shares back."""
        await self._credentials.close()
        lease, self._control_lease = self._control_lease, None
        try:
            if lease is not None:
                await lease.release()
        finally:
            await super().close()

    def _signing(self, inner: Transport, base_url: str, region: str) -> SigningTransport:
        headers = {name: value.get_secret_value() for name, value in self.config.headers.items()}
        return SigningTransport(
            inner, base_url=base_url, region=region, source=self._credentials, time=self._time, headers=headers
        )

    def authorise(self, call: HttpCall, api_key: str | None) -> HttpCall:
        """*call* with an API key as bearer token, where there is one; the transport signs what has none."""
        key = api_key or self._ambient_key
        return replace(call, headers={**call.headers, "authorization": f"Bearer {key}"}) if key else call

    def confidential(self, api_key: str | None) -> tuple[str, ...]:
        """As everywhere, and the key of the environment."""
        known = super().confidential(api_key)
        return (*known, self._ambient_key) if self._ambient_key else known

    def facts(self, model: str) -> ModelFacts:
        """What is known about *model*, by whatever profile or ARN it is called."""
        facts = self._facts.get(model)
        if facts is None:
            facts = self._facts[model] = model_facts("bedrock", base_model(model))
        return facts

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector per input, in order; several requests where the model takes few texts at once.

        Raises:
            ProviderError: any of them failed; the others are then cut.
            UnsupportedFeature: the model is none that makes embeddings.
        """
        facts = self.facts(request.model)
        family = family_of(request.model, facts)
        portions = batches(family, request.inputs)
        # Encoding first: a request that cannot be written is refused before anything is sent.
        calls = [encode_embeddings(request, family, portion, facts) for portion in portions]
        lane = asyncio.Semaphore(self.config.embedding_concurrency)
        failure: ProviderError | None = None
        tasks: list[asyncio.Task[EmbeddedBatch]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._embedded(call, family, len(portion), request, lane))
                    for call, portion in zip(calls, portions, strict=True)
                ]
        except* ProviderError as errors:
            failure = next(error for error in errors.exceptions if isinstance(error, ProviderError))
        if failure is not None:
            raise failure
        joined = JoinedBatches(request)
        with self.located(request.model):
            for task in tasks:
                joined.add(task.result())
        response = joined.response(self.name)
        if request.user is not None:
            dropped = CallWarning("dropped", "Bedrock knows no end users", "user")
            response = replace(response, warnings=(dropped,))
        return response

    async def _embedded(
        self, call: HttpCall, family: Family, count: int, request: EmbeddingRequest, lane: asyncio.Semaphore
    ) -> EmbeddedBatch:
        async with lane:
            headers, body = await self.call_json(call, request)
        with self.located(request.model):
            return decode_embeddings(family, count, headers, body)

    async def count_tokens(self, request: ChatRequest) -> int:
        """Prompt tokens of *request*, as the service counts them; free of charge. Not all models can be asked.

        Raises:
            ProviderError: the model cannot be counted for, or the service cannot be reached.
        """
        # Counting takes the foundation model itself, not a profile.
        path = model_path(base_model(request.model), "count-tokens")
        body = encode_json(count_body(request, self.config))
        _, answer = await self.call_json(HttpCall("POST", path, body, JSON_HEADERS, idempotent=True), request)
        with self.located(request.model):
            return decode_count(answer)

    async def list_models(self) -> Sequence[ModelInfo]:
        """The foundation models of the region; whether the account may use them is not said.

        Raises:
            ProviderError: the service cannot be reached or refuses.
        """
        listed = await self._listed()
        for name, facts, _ in listed:
            self._facts[name] = merged(self.facts(name), facts)
        return [ModelInfo(name, self.facts(name), detail=detail) for name, _, detail in listed]

    async def health_check(self) -> HealthReport:
        """Ask for the model list, which costs no tokens."""
        return await self.report_of(self._offer())

    async def _offer(self) -> tuple[str, tuple[str, ...] | None]:
        try:
            names = tuple(name for name, _, _ in await self._listed())
        except ProviderError as error:
            if error.type != "permission":
                raise
            return "answers, but may not list models", None
        return f"{len(names)} models", names

    async def _listed(self) -> list[tuple[str, ModelFacts, str]]:
        return await self.ask(MODELS_PATH, models_from_bedrock, self._control)


def decode_count(body: bytes) -> int:
    """The number of tokens in an answer of CountTokens.

    Raises:
        ProviderError: there is none.
    """
    count = parse_object(body).get("inputTokens")
    if type(count) is not int or count < 0:
        raise schema_error("it holds no number of tokens")
    return count
