"""A provider that says what a test tells it to say."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from core.llm.common.exceptions import ErrorType, ProviderError
from core.llm.common.messages import ToolCall
from core.llm.common.types import FinishReason, UnifiedFinish, Usage
from core.llm.common.units import Duration
from core.llm.providers.base.provider import (
    BaseLLMProvider,
    HealthReport,
    ModelInfo,
    ModelStatus,
    Progress,
    ProgressCallback,
    ProviderServices,
)
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.base.response import (
    EmbeddingResponse,
    LLMResponse,
    ResponseCollector,
    StreamEvent,
    StreamFinish,
    StreamStart,
    TextDelta,
)
from core.llm.providers.base.spec import ProviderSpec
from core.llm.providers.config.models.frozen import Frozen
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.testing.script import Gate, Outcome, Pause, Script, Step, Then, closing_events, count_words, opening_event
from core.llm.testing.services import provider_services


class ScriptedAnswer(Frozen):
    """One answer in YAML: a text, or a failure."""

    text: str = ""
    thinking: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = Field(default=(), description="Each with `id`, `name` and `arguments`.")
    finish: UnifiedFinish | None = None
    error: ErrorType | None = Field(default=None, description="Fail with an error of this type instead of answering.")
    message: str = "scripted failure"
    retry_after: float | None = None
    pieces: tuple[str, ...] = Field(default=(), description="The answer in pieces; instead of `text`.")
    delay: Duration | None = Field(default=None, description="Before the first event, on the service's clock.")


def _answers(value: object) -> object:
    items = value if isinstance(value, list | tuple) else [value]
    return tuple({"text": item} if isinstance(item, str) else item for item in items)


class ScriptedConfig(ProviderConfig):
    """Settings of a scripted provider."""

    answers: Annotated[tuple[ScriptedAnswer, ...], BeforeValidator(_answers)] = Field(
        default=(), description="Answers in order: texts, or mappings with text, tool_calls, error and so on."
    )
    then: Then = Field(default="echo", description="After the answers: echo the user, repeat the last one, or fail.")
    script: str | None = Field(
        default=None, description="Name of a script that the test holds (`Script.named`); it takes the answers' place."
    )
    healthy: bool = True
    dimensions: int = Field(default=8, gt=0, le=4096, description="Length of embedding vectors.")


class ScriptedProvider(BaseLLMProvider):
    """A provider without a network: answers from a script, remembers every request.

    In a test it is made by hand, `ScriptedProvider(name="alpha")`; in YAML it is `type: scripted`.
    """

    config: ScriptedConfig

    def __init__(
        self,
        config: ScriptedConfig | None = None,
        services: ProviderServices | None = None,
        *,
        name: str = "scripted",
        script: Script | None = None,
    ) -> None:
        super().__init__(config or ScriptedConfig(type="scripted"), services or provider_services(name))
        self.script = script or self._configured_script()
        self.health = HealthReport(self.config.healthy, "scripted")
        """What `health_check` reports; a test may set it."""
        self.started = 0
        self.closed = 0
        """How often `close` was called."""

    def _configured_script(self) -> Script:
        if self.config.script is not None:
            named = Script.find(self.config.script)
            if named is None:
                raise ValueError(
                    f"no script is named {self.config.script!r}: call Script.named({self.config.script!r}) in the "
                    "test and keep the result while the provider is in use"
                )
            return named
        script = Script(self.config.then)
        for answer in self.config.answers:
            delay = answer.delay or 0.0
            if answer.error is not None:
                error = ProviderError(answer.error, answer.message, retry_after=answer.retry_after)
                script.will_stream(*answer.pieces, error, delay=delay)
            elif answer.pieces:
                script.will_stream(*answer.pieces, finish=answer.finish, delay=delay)
            else:
                script.will_answer(
                    answer.text,
                    thinking=answer.thinking,
                    tool_calls=answer.tool_calls,
                    finish=answer.finish,
                    delay=delay,
                )
        return script

    def will_answer(
        self,
        text: str = "",
        *,
        thinking: str = "",
        tool_calls: Sequence[ToolCall | Mapping[str, Any]] = (),
        usage: Usage | None = None,
        finish: UnifiedFinish | FinishReason | None = None,
        model: str | None = None,
        delay: float = 0.0,
    ) -> None:
        """Queue one complete answer; see `Script.will_answer`."""
        self.script.will_answer(
            text, thinking=thinking, tool_calls=tool_calls, usage=usage, finish=finish, model=model, delay=delay
        )

    def will_stream(self, *steps: Step, usage: Usage | None = None, delay: float = 0.0) -> tuple[Gate, ...]:
        """Queue one answer step by step; see `Script.will_stream`."""
        return self.script.will_stream(*steps, usage=usage, delay=delay)

    def will_raise(self, error: BaseException, *, delay: float = 0.0) -> None:
        """Queue a failure before any output."""
        self.script.will_raise(error, delay=delay)

    def will_hold(self, text: str = "") -> Gate:
        """Queue an answer that waits before its first event until the returned gate is opened."""
        return self.script.will_hold(text)

    def will_embed(self, result: Sequence[Sequence[float]] | BaseException) -> None:
        """Queue the result of one embedding call."""
        self.script.will_embed(result)

    @property
    def requests(self) -> list[ChatRequest]:
        """Every chat request, in order of arrival."""
        return self.script.requests

    async def start(self) -> None:
        """Count the start."""
        self.started += 1

    async def generate(self, request: ChatRequest) -> LLMResponse:
        """The next answer of the script as a whole."""
        collector = ResponseCollector()
        async for event in self.stream_generate(request):
            collector.add(event)
        response = collector.response()
        response.warnings = tuple(request.warnings)
        return response

    async def stream_generate(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """The next answer of the script, step by step."""
        script = self.script
        reply = script.next_reply(request)
        number = len(script.requests)
        given: list[StreamEvent] = []
        script.active += 1
        outcome: Outcome = "cut"
        try:
            if reply.delay:
                await self.services.clock.sleep(reply.delay)
            for step in reply.steps:
                if isinstance(step, Gate):
                    await step.pass_through()
                elif isinstance(step, Pause):
                    await self.services.clock.sleep(step.seconds)
                elif isinstance(step, BaseException):
                    outcome = "failed"
                    raise _located(step, self.name, request.model)
                else:
                    if not given and not isinstance(step, StreamStart):
                        given.append(opening_event(reply, request, self.name, number))
                        yield given[0]
                    event = TextDelta(step) if isinstance(step, str) else step
                    given.append(event)
                    yield event
            if not given:
                given.append(opening_event(reply, request, self.name, number))
                yield given[0]
            closing = closing_events(reply, request, given)
            for event in closing:
                # The reply is complete once its end was handed over, whether or not the consumer asks for more.
                outcome = "finished" if isinstance(event, StreamFinish) else outcome
                yield event
            outcome = "finished"
        finally:
            script.active -= 1
            script.outcomes[outcome] += 1

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """The queued vectors, or vectors that depend on nothing but the text."""
        try:
            vectors = self.script.next_vectors(request)
        except ProviderError as error:
            raise error.at(self.name, request.model) from None
        if vectors is None:
            length = request.dimensions or self.config.dimensions
            vectors = tuple(vector_of(text, length) for text in request.inputs)
        words = sum(len(text.split()) for text in request.inputs)
        return EmbeddingResponse(vectors, request.model, self.name, Usage(input=words))

    async def count_tokens(self, request: ChatRequest) -> int:
        """One token for each word."""
        return count_words(request)

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models of the configuration."""
        return [ModelInfo(name, self.facts(name)) for name in self.config.models]

    async def health_check(self) -> HealthReport:
        """What the test has set, healthy by default."""
        return self.health

    async def close(self) -> None:
        """Count the close."""
        self.closed += 1


class ScriptedModelHost(ScriptedProvider):
    """A scripted provider whose models are loaded and unloaded, like those of a local server."""

    def __init__(
        self,
        config: ScriptedConfig | None = None,
        services: ProviderServices | None = None,
        *,
        name: str = "scripted",
        script: Script | None = None,
    ) -> None:
        super().__init__(config, services, name=name, script=script)
        self.loaded: list[str] = []
        """Models in memory, in order of loading."""
        self.log: list[tuple[str, str]] = []
        """Every `load`, `unload` and `pull` with its model, in order."""
        self.load_gate: Gate | None = None
        """Where set, loads wait before it."""
        self.load_error: BaseException | None = None
        """Where set, loads fail with it."""

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models of the configuration and those that were loaded."""
        names = dict.fromkeys((*self.config.models, *self.loaded))
        return [ModelInfo(name, self.facts(name), loaded=name in self.loaded) for name in names]

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        """Load *model*: two progress reports, then ready."""
        self.log.append(("load", model))
        if progress:
            progress(Progress("loading", 0.0, 1.0))
        if self.load_gate:
            await self.load_gate.pass_through()
        if self.load_error:
            raise self.load_error
        if model not in self.loaded:
            self.loaded.append(model)
        if progress:
            progress(Progress("loaded", 1.0, 1.0))
        return await self.model_status(model)

    async def unload_model(self, model: str) -> ModelStatus:
        """Forget *model*; harmless when it is not loaded."""
        self.log.append(("unload", model))
        if model in self.loaded:
            self.loaded.remove(model)
        return await self.model_status(model)

    async def model_status(self, model: str) -> ModelStatus:
        """`ready` or `unloaded`."""
        return ModelStatus(model, "ready" if model in self.loaded else "unloaded")

    async def pull_model(self, model: str, progress: ProgressCallback | None = None) -> ModelInfo:
        """Pretend to download *model*."""
        self.log.append(("pull", model))
        if progress:
            progress(Progress("downloaded", 1.0, 1.0))
        return ModelInfo(model, self.facts(model), loaded=False)


def vector_of(text: str, length: int) -> tuple[float, ...]:
    """A vector that depends on nothing but *text*; equal texts have equal vectors, others very likely do not."""
    digest = hashlib.shake_128(text.encode()).digest(length)
    return tuple((byte - 127.5) / 127.5 for byte in digest)


def _located(error: BaseException, provider: str, model: str) -> BaseException:
    return error.at(provider, model) if isinstance(error, ProviderError) else error


SCRIPTED = ProviderSpec(
    "scripted",
    "core.llm.testing.provider:ScriptedConfig",
    "core.llm.testing.provider:ScriptedProvider",
    "answers from a script, for tests",
)
"""For `ProviderModule(..., plugins=[SCRIPTED])`: makes `type: scripted` known."""

SCRIPTED_HOST = ProviderSpec(
    "scripted_host",
    "core.llm.testing.provider:ScriptedConfig",
    "core.llm.testing.provider:ScriptedModelHost",
    "a scripted provider with models to load and unload, for tests",
    local=True,
)
"""The same for `type: scripted_host`."""
