"""Models on an Ollama server as a provider: chat, embeddings, and the life of a model in memory."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import CallWarning, ModelFacts, Usage
from core.llm.common.wire import HttpCall
from core.llm.dialects.json import encode_json, schema_error
from core.llm.providers.base.http_provider import HttpProvider
from core.llm.providers.base.provider import (
    HealthReport,
    ModelInfo,
    ModelStatus,
    ProgressCallback,
    ProviderServices,
    PullStrategy,
)
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.residency import Placement
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse, StreamEvent
from core.llm.providers.base.server_transport import ServerTransport, address_of, with_key
from core.llm.providers.ollama.catalogue import OllamaCatalogue
from core.llm.providers.ollama.client import OllamaClient
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.keep_alive import keep_alive_to_wire
from core.llm.providers.ollama.keep_alives import KeepAlives
from core.llm.providers.ollama.lines import error_in_answer
from core.llm.providers.ollama.model_manager import OllamaModelManager
from core.llm.providers.ollama.models.responses import EmbedResponse
from core.llm.providers.ollama.naming import canonical_name
from core.llm.providers.ollama.prompts import OllamaPromptDialect
from core.llm.providers.ollama.pulling import OllamaPulls
from core.llm.providers.ollama.validator import LOAD_OPTIONS
from core.llm.providers.ollama.wire import JSON_HEADERS


class OllamaProvider(HttpProvider):
    """One Ollama server."""

    config: OllamaConfig

    def __init__(self, config: OllamaConfig, services: ProviderServices) -> None:
        rng = services.rng
        self._keep_alives = KeepAlives(config)
        dialect = OllamaPromptDialect(config, lambda: f"call_{rng.getrandbits(64):016x}", self._keep_alives)
        super().__init__(config, services, dialect, base_url=config.base_url)
        self.client = OllamaClient(self.client_transport, clock=services.clock)
        self.catalogue = OllamaCatalogue(self.client, config, services.clock)
        self.manager = OllamaModelManager(self.client, config, services, self._keep_alives)
        self._pulls = OllamaPulls(self.manager, self.catalogue, config)

    async def start(self) -> None:
        """Take a share in the connection pool. Nothing is sent: the server may be started later."""
        await super().start()
        if not isinstance(self.transport, ServerTransport):
            nobody = (
                f"no Ollama server at {address_of(self.base_url)}: start it with `ollama serve`, or correct base_url"
            )
            self.transport = ServerTransport(self.transport, nobody, self._first_key, self.confidential)

    async def close(self) -> None:
        """Stop loads and pulls and give the share in the connection pool back."""
        await self.manager.close()
        await self._pulls.close()
        await super().close()

    def authorise(self, call: HttpCall, api_key: str | None) -> HttpCall:
        """*call* with the key that was chosen for it; a server of one's own needs none."""
        return with_key(call, api_key) if api_key else call

    async def generate(self, request: ChatRequest) -> LLMResponse:
        """The complete answer. A model that is not installed is pulled first, once, where `pull` says so."""
        self._pulls.refresh(request.model)
        warned = len(request.warnings)
        try:
            return await super().generate(request)
        except ProviderError as error:
            if not self._pulls.allowed_for(request.model, error):
                raise
        await self._pull_for(request.model)
        del request.warnings[warned:]
        return await super().generate(request)

    def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """The answer as events. A model that is not installed is pulled first, once, where `pull` says so."""
        concerned = self._pulls.concern(request.model)
        return self._stream_after_pull(request) if concerned else super().stream_generate(request)

    async def _stream_after_pull(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        self._pulls.refresh(request.model)
        warned = len(request.warnings)
        events = super().stream_generate(request)
        try:
            first = await anext(events)
        except ProviderError as error:
            if not self._pulls.allowed_for(request.model, error):
                raise
            await self._pull_for(request.model)
            del request.warnings[warned:]
            events = super().stream_generate(request)
            first = await anext(events)
        async with aclosing(events):  # type: ignore[type-var]  # HttpProvider's stream is an async generator, which has aclose
            yield first
            async for event in events:
                yield event

    async def _pull_for(self, model: str) -> None:
        with self.located(model):
            await self._pulls.fetch(model)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One vector of length one per input, in order."""
        self._pulls.refresh(request.model)
        config = self.config
        body: dict[str, object] = {"model": request.model, "input": list(request.inputs)}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if config.truncate is not None:
            body["truncate"] = config.truncate
        if options := config.options_of(request.model):
            body["options"] = options
        if (keep_alive := keep_alive_to_wire(self._keep_alives.of(request.model))) is not None:
            body["keep_alive"] = keep_alive
        body.update({name: value for name, value in request.extra.items() if name not in body})
        call = HttpCall("POST", "/api/embed", encode_json(body), JSON_HEADERS, idempotent=True)
        try:
            _, answer = await self.call_json(call, request)
        except ProviderError as error:
            if not self._pulls.allowed_for(request.model, error):
                raise
            await self._pull_for(request.model)
            _, answer = await self.call_json(call, request)
        try:
            return self._vectors(request, EmbedResponse.from_json(answer))
        except ProviderError as error:
            # Only now: an error in the place of vectors is rare, and a body of vectors is long.
            said = error_in_answer(answer, model=request.model) or error
            raise said.at(self.name, request.model) from None

    def _vectors(self, request: EmbeddingRequest, reply: EmbedResponse) -> EmbeddingResponse:
        vectors = reply.embeddings
        if len(vectors) != len(request.inputs):
            raise schema_error(f"{len(request.inputs)} texts were sent and {len(vectors)} vectors came back")
        lengths = {len(vector) for vector in vectors}
        if 0 in lengths or len(lengths) > 1:
            raise schema_error("the vectors are empty or of different lengths")
        tokens = reply.prompt_eval_count
        known = tokens is not None and tokens >= 0
        usage = Usage(
            input=tokens if known and tokens is not None else sum(map(len, request.inputs)) // 4 + 1,
            estimated=not known,
            raw={} if tokens is None else {"prompt_eval_count": tokens},
        )
        dropped = CallWarning("dropped", "Ollama knows no end users", "user")
        return EmbeddingResponse(
            vectors,
            reply.model or request.model,
            self.name,
            usage,
            warnings=(dropped,) if request.user is not None else (),
        )

    def facts(self, model: str) -> ModelFacts:
        """What the server has said about *model* so far, and the context that the configuration gives it."""
        return self.catalogue.facts(model)

    async def health_check(self) -> HealthReport:
        """Ask for the version; costs no tokens and loads nothing. Learns the facts of configured models by the way."""
        clock = self.services.clock
        begun = clock.monotonic()
        try:
            version = (await self.client.version()).version
            latency = clock.monotonic() - begun
            await self.catalogue.learn_configured()
        except ProviderError as error:
            self.catalogue.forget()
            return HealthReport(healthy=False, detail=error.message)
        return HealthReport(healthy=True, detail=f"Ollama {version} at {address_of(self.base_url)}", latency=latency)

    async def resolve_default_model(self) -> str | None:
        """The model for callers that name only this provider.

        `default_model` of the configuration, else its first model, else the most recently changed installed model that
        can chat (models that Ollama forwards to its cloud are never chosen). `None`: the server has no such model.

        Raises:
            ProviderError: nothing is configured and the server cannot be asked.
        """
        if self.config.default_model:
            return self.config.default_model
        for model in self.config.models:
            if not self.catalogue.facts(model).lacks("chat"):
                return model
        with self.located():
            return await self.catalogue.first_chat_model()

    async def list_models(self) -> Sequence[ModelInfo]:
        """The installed models with their facts, and which of them are in memory."""
        with self.located():
            self.catalogue.forget()
            installed = await self.catalogue.installed()
            await self.catalogue.learn_all(installed)
            running = {canonical_name(entry.name) for entry in (await self.client.ps()).models}
        return [
            ModelInfo(
                entry.name,
                self.facts(entry.name),
                loaded=None if entry.remote_host else canonical_name(entry.name) in running,
                size_bytes=entry.size,
                detail=f"runs at {entry.remote_host}"
                if entry.remote_host
                else " ".join(filter(None, (entry.details.parameter_size, entry.details.quantization_level))),
            )
            for entry in installed
        ]

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        """Load *model* with its configured options; it is pulled first where it is missing and `pull` says so."""
        self._pulls.refresh(model)
        with self.located(model):
            try:
                return await self.manager.load(model, progress)
            except ProviderError as error:
                if not self._pulls.allowed_for(model, error):
                    raise
            await self.manager.pull(model, progress, keep_going=True)
            self.catalogue.forget()
            return await self.manager.load(model, progress)

    async def unload_model(self, model: str) -> ModelStatus:
        """Take *model* out of memory; returns once the server no longer lists it."""
        with self.located(model):
            return await self.manager.unload(model)

    def placement(self, model: str) -> Placement:
        """On a server that others use too; with other load options it is another thing in memory."""
        options = encode_json(dict(sorted(self.config.options_of(model).items())))
        name = ("ollama", self.base_url, canonical_name(model))
        return Placement((*name, options), owned=False, slot=name)

    async def loaded_models(self, known: Sequence[str]) -> Sequence[ModelStatus]:
        """What the server lists as running, whoever asked for it."""
        names = {canonical_name(name): name for name in known}
        with self.located():
            running = (await self.client.ps()).models
        return [ModelStatus(names.get(canonical_name(one.name), one.name), "ready", one.size) for one in running]

    def keep_in_memory(self, model: str, wish: float | Literal["never"] | None) -> None:
        """Send this `keep_alive` with every call of *model*, where none is configured."""
        self._keep_alives.wish(model, "immediate" if wish == 0 else wish)

    def reload_reason(self, model: str, extra: Mapping[str, Any]) -> str | None:
        """Which of `extra.options` differs from how *model* is loaded."""
        given, pinned = extra.get("options"), self.config.options_of(model)
        for name, value in given.items() if isinstance(given, Mapping) else ():
            if name in LOAD_OPTIONS and pinned.get(name) != value:
                return f"the call asks for {name} {value!r} and the model has {pinned.get(name, 'the default')!r}"
        return None

    async def pull_model(self, model: str, progress: ProgressCallback | None = None) -> ModelInfo:
        """Download *model*. Cancelling stops the download; the next one continues where it was."""
        with self.located(model):
            await self.manager.pull(model, progress)
            self.catalogue.forget()
            await self.catalogue.learn(model)
            wanted = canonical_name(model)
            found = [entry for entry in await self.catalogue.installed() if canonical_name(entry.name) == wanted]
        return ModelInfo(model, self.facts(model), loaded=False, size_bytes=found[0].size if found else None)

    def pull_strategy(self, model: str) -> PullStrategy | None:
        """What the configuration says about pulling *model*."""
        return self.config.configured_pull(model)

    async def model_status(self, model: str) -> ModelStatus:
        """Where *model* is in its life, asked from the server."""
        with self.located(model):
            return await self.manager.status(model)
