"""`LLMService`: every model behind one typed call."""

import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from pydantic import BaseModel, ValidationError

from core.llm.common.clock import Clock, Deadline, SystemClock, new_id
from core.llm.common.events import EventBus
from core.llm.common.exceptions import NotCached, RequestError, UnsupportedFeature
from core.llm.common.media import names_files, with_files_loaded
from core.llm.common.messages import Message
from core.llm.common.timers import timers
from core.llm.common.types import SwapMode
from core.llm.explanation import explain, peek
from core.llm.inspection import available_models, provider_status
from core.llm.object_stream import ObjectStream
from core.llm.outcomes import Scored, experiment_report, record
from core.llm.pipeline.guardrails import screen
from core.llm.pipeline.handler import Call, Mode
from core.llm.providers.base.provider import ModelInfo, ModelLister, ModelStatus, ProgressCallback
from core.llm.providers.base.request import AnswerMode, LLMRequest, ObjectOptions, RequestOptions, ToolInput
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse, StreamEvent
from core.llm.request_problems import problems
from core.llm.runtime.streams import ActiveStream, ActiveStreams, StreamSession
from core.llm.status import AvailableModel, ExperimentReport, Explanation, ProviderStatus, TokenCount
from core.llm.stream import LLMStream
from core.llm.structured.answer import Misfit, no_fit, read_response
from core.llm.structured.form import answer_format
from core.llm.token_counting import count_at, estimated

if TYPE_CHECKING:
    from core.llm.model_manager import ModelManager
    from core.llm.runtime.live import LiveConfiguration
    from core.llm.runtime.runtime import Runtime

T = TypeVar("T", bound=BaseModel)

Prompt = str | Sequence[Message | Mapping[str, Any]] | LLMRequest


class LLMService:
    """Calls models. Injected once and kept: an edited configuration is used by the next call.

    Calls that are running when the configuration changes finish on the one they began with. After `stop`, calls raise
    `ServiceStopping`.
    """

    def __init__(
        self,
        live: "LiveConfiguration",
        models: "ModelManager",
        events: EventBus | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._live = live
        self._holder = live.holder
        self._events = events or EventBus()
        self._clock = clock or SystemClock()
        self._models = models
        self._timers = timers(self._clock)
        self._streams = ActiveStreams(self._clock)
        self._rng = rng or random.Random()
        # Ids have a source of their own, so that asking for one does not change how the next call is routed.
        self._ids = random.Random(self._rng.getrandbits(64))

    async def start(self) -> None:
        """Admit calls. The configuration is loaded and the providers are started before."""
        self._timers = timers(self._clock)
        self._holder.open()

    @property
    def stop_timeout(self) -> float:
        """Seconds that `stop` may need: the drain time, and a little more to cut what is left."""
        return self._live.shutdown_timeout + 5.0

    async def stop(self) -> None:
        """Refuse new calls, let running ones end within `lifecycle.shutdown_timeout`, cut the rest, close all."""
        self._holder.close_admission("the service is stopping: no new calls are accepted")
        await self._live.shut_down()
        self._holder.close_admission("the service has stopped")

    async def generate(self, request: Prompt, **options: Unpack[RequestOptions]) -> LLMResponse:
        """The whole answer to *request*: a string, messages, or an `LLMRequest`; its fields may be given as keywords.

        Raises:
            ProviderError: the only candidate failed, or refused.
            AllAttemptsFailed: every candidate failed; holds one error each.
            RequestError: the request itself is wrong.
            ServiceStopping: the service is not running.
        """
        prepared = self._request(request, options)
        if names_files(prepared.messages):
            prepared = await self._with_files(prepared)
        call, runtime = self._admit(prepared, "generate")
        try:
            reply = await runtime.handler(call)
            await reply.end("answered")
        finally:
            self._leave(call, runtime)
        if reply.response is None:
            raise RuntimeError("a handler finished without an answer: a layer has lost it")
        return reply.response

    def stream(self, request: Prompt, **options: Unpack[RequestOptions]) -> LLMStream:
        """The answer as it is made: `async with llm.stream(…) as stream: async for event in stream: …`.

        Entering returns once the first output is here; until then failed candidates are passed over. A stream that
        breaks later raises an error whose `partial` holds what was delivered.
        """

        async def begin() -> StreamSession:
            prepared = await self._prepared(request, options)
            call, runtime = self._admit(prepared, "stream")
            return StreamSession(self._holder, runtime, call, self._streams)

        return LLMStream(begin)

    def stream_generate(self, request: Prompt, **options: Unpack[RequestOptions]) -> AsyncIterator[StreamEvent]:
        """Like `stream`, as a plain iterator. Read it to its end, or close it with `aclose`."""
        return self.stream(request, **options)

    def active_streams(self) -> tuple[ActiveStream, ...]:
        """Every stream that is open now, the oldest first: who answers, how much was delivered, how long it idles."""
        return self._streams.snapshot()

    def cancel_stream(self, call_id: str, reason: str = "") -> bool:
        """Close the stream of the call *call_id* and its connection; false where no such stream is open.

        Its consumer gets a `ProviderError` of type `cancelled`, code `stream_cancelled`, with what was delivered.
        """
        return self._streams.cancel(call_id, reason)

    @overload
    async def generate_object(
        self,
        request: Prompt,
        model_class: type[T],
        *,
        mode: AnswerMode = "auto",
        tools: None = None,
        **options: Unpack[ObjectOptions],
    ) -> LLMResponse[T]: ...
    @overload
    async def generate_object(
        self,
        request: Prompt,
        model_class: type[T],
        *,
        mode: AnswerMode = "auto",
        tools: Sequence[ToolInput],
        **options: Unpack[ObjectOptions],
    ) -> LLMResponse[T | None]: ...
    async def generate_object(
        self, request: Prompt, model_class: type[T], *, mode: AnswerMode = "auto", **options: Any
    ) -> Any:
        """An answer that fits the pydantic model *model_class*; the validated object is in `response.object`.

        *mode* is how it is asked for: natively, as the arguments of a tool, in words, or by the first of these that the
        model takes. Whichever it is, the answer is validated here; one that does not fit is asked for once more. Where
        the request brings tools and the model calls one, `object` is `None` and `tool_calls` has the call.

        Raises:
            StructuredOutputError: no answer fits, the model refused, or was cut off; holds reason, raw text and cost.
        """
        wanted = answer_format(model_class, mode)
        response = await self.generate(request, **{**options, "response_format": wanted})
        if response.object is None:
            outcome = read_response(response, wanted)
            if isinstance(outcome, Misfit):
                raise no_fit(response, model_class, outcome)
            response.object = outcome.object if outcome is not None else None
        return response

    def stream_object(
        self, request: Prompt, model_class: type[T], *, mode: AnswerMode = "auto", **options: Unpack[ObjectOptions]
    ) -> ObjectStream[T]:
        """A *model_class* as it grows: `async with llm.stream_object(…) as stream: async for partial in stream: …`.

        What arrives is validated field by field; `stream.object` is the whole, validated as one, after the last event.
        Nothing is asked again, because what has been seen cannot be taken back.
        """
        wanted = answer_format(model_class, mode)
        fields: dict[str, Any] = {**options, "response_format": wanted}
        return ObjectStream(self.stream(request, **fields), model_class, wanted)

    async def embed(
        self, texts: str | Sequence[str], *, model: str | None = None, dimensions: int | None = None, **options: Any
    ) -> EmbeddingResponse:
        """One vector for each of *texts*, in order."""
        inputs = (texts,) if isinstance(texts, str) else tuple(texts)
        if not inputs:
            raise RequestError("embed needs at least one text")
        if not all(isinstance(text, str) for text in inputs):
            raise RequestError("embed takes strings only")
        prepared = self._request(Message("user", ""), {**options, "model": model})
        call, runtime = self._admit(prepared, "embed", inputs, dimensions)
        try:
            reply = await runtime.handler(call)
            await reply.end("answered")
        finally:
            self._leave(call, runtime)
        if reply.embedding is None:
            raise RuntimeError("a handler finished without vectors: a layer has lost them")
        return reply.embedding

    async def count_tokens(self, request: Prompt, **options: Unpack[RequestOptions]) -> TokenCount:
        """Prompt tokens of *request* at the model it would go to first, and the bound of that number.

        The provider is asked where it can count; else, and where it fails, it is an estimate: `source` says which.

        Raises:
            ProviderError: the provider refuses the request itself.
            RequestError: the request is wrong.
        """
        prepared = await self._prepared(request, options)
        call, runtime = self._admit(prepared, "generate")
        try:
            # A provider that counts is sent the whole request.
            await screen(runtime.state.memory.guardrails, call)
            for ref in peek(runtime, prepared, self._rng).candidates:
                if runtime.unavailable(ref) is None:
                    with call.guard:
                        target = await runtime.target(ref)
                    return await count_at(runtime, target, call)
            return estimated(call)
        finally:
            self._leave(call, runtime)

    def explain(self, request: Prompt, *, stream: bool = False, **options: Unpack[RequestOptions]) -> Explanation:
        """Where *request* would go now and why. Nothing is sent, and nobody's turn is used up."""
        mode: Mode = "stream" if stream else "generate"
        return explain(self._holder.current, self._request(request, options), self._rng, mode)

    def get_available_models(self) -> tuple[AvailableModel, ...]:
        """Every alias and every configured model, available or not."""
        return available_models(self._holder.current)

    def get_provider_status(self) -> Mapping[str, ProviderStatus]:
        """How each configured provider is doing, judged by what happened to calls. Asks nobody."""
        return provider_status(self._holder.current)

    def score(self, answer: Scored, value: float, **labels: str) -> bool:
        """Say how good *answer* was, best from 0 to 1: a response, or the id of its call, which is remembered a while.

        Also long after the call has ended. The strategy `bandit` learns from it; `experiment_report` shows it; *labels*
        go with the event `OutcomeReported`. `False` where no alias had a choice of models to learn about.
        """
        return record(self._holder.current, answer, value, labels)

    def experiment_report(self, alias: str) -> ExperimentReport:
        """How the models of *alias* have done: calls, failures, outcomes, time and money of each."""
        return experiment_report(self._holder.current, alias)

    async def list_models(self, provider: str) -> Sequence[ModelInfo]:
        """The models that *provider* says it has now."""
        lister: ModelLister = self._capable(provider, ModelLister, "cannot list its models")
        return await lister.list_models()

    async def load_model(self, model: str, progress: ProgressCallback | None = None) -> ModelStatus:
        """Load a local model (`provider/model` or an alias) into memory; see `ModelManager.load`."""
        return await self._models.load(model, progress)

    async def unload_model(self, model: str) -> ModelStatus:
        """Take a local model out of memory, and return once it has gone; see `ModelManager.unload`."""
        return await self._models.unload(model)

    async def swap_model(self, alias: str, model: str, *, mode: SwapMode = "auto") -> ModelStatus:
        """Let *alias* mean *model* from now on, without a call that fails; see `ModelManager.swap`."""
        return await self._models.swap(alias, model, mode=mode)

    async def model_status(self, model: str) -> ModelStatus:
        """Where a local model is in its life."""
        return await self._models.status(model)

    async def pull_model(self, model: str, progress: ProgressCallback | None = None) -> ModelInfo:
        """Download a model to the server that serves it; see `ModelManager.pull`."""
        return await self._models.pull(model, progress)

    def _capable(self, provider: str, protocol: type[Any], lack: str) -> Any:
        found = self._holder.current.provider(provider)
        if not isinstance(found, protocol):
            raise UnsupportedFeature(f"provider {provider!r} {lack}")
        return found

    def _request(self, request: Prompt | Message, options: Mapping[str, Any]) -> LLMRequest:
        if isinstance(request, LLMRequest):
            if not options:
                return request
            fields = {name: getattr(request, name) for name in LLMRequest.model_fields}
        else:
            fields = {"messages": request}
        try:
            return LLMRequest(**{**fields, **options})
        except ValidationError as error:
            raise RequestError(f"the request is not valid: {problems(error)}") from None

    async def _prepared(self, request: Prompt, options: Mapping[str, Any]) -> LLMRequest:
        prepared = self._request(request, options)
        return await self._with_files(prepared) if names_files(prepared.messages) else prepared

    async def _with_files(self, request: LLMRequest) -> LLMRequest:
        return request.model_copy(update={"messages": await with_files_loaded(request.messages)})

    def _admit(
        self, request: LLMRequest, mode: Mode, inputs: tuple[str, ...] = (), dimensions: int | None = None
    ) -> tuple[Call, "Runtime"]:
        if request.cache == "only" and not self._holder.current.config.cache.enabled:
            raise NotCached("the request asks for the cache only, and `cache.enabled` is false")
        runtime = self._holder.admit()
        seconds = request.timeout or runtime.config.timeout
        deadline = Deadline(self._clock.monotonic() + seconds if seconds else math.inf)
        call = Call(
            request,
            mode,
            id=new_id(self._ids),
            generation=runtime.generation,
            deadline=deadline,
            clock=self._clock,
            rng=self._rng,
            events=self._events,
            inputs=inputs,
            dimensions=dimensions,
            timers=self._timers,
        )
        runtime.calls.add(call)
        call.guard.arm(deadline.at)
        return call, runtime

    def _leave(self, call: Call, runtime: "Runtime") -> None:
        call.guard.disarm()
        self._holder.leave(runtime, call)
