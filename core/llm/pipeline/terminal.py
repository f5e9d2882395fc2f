"""The innermost handler: hand the call to the provider and wait for its first output.

Lifecycle events of a stream are held back until there is output, so that nobody has committed to
anything before the user has something to see.
"""

from collections.abc import AsyncIterator

from core.llm.common.events import RequestAdjusted
from core.llm.common.exceptions import LLMError, ProviderError, UnsupportedFeature
from core.llm.common.types import PhaseLimits
from core.llm.pipeline.defects import defect, own_error
from core.llm.pipeline.event_streams import close
from core.llm.pipeline.handler import Call, Handler, Reply, raise_alone
from core.llm.pipeline.mid_stream_buffer import hold_back
from core.llm.pipeline.pace import Paced
from core.llm.pipeline.target import Target
from core.llm.providers.base.provider import Embedder
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import (
    OUTPUT_EVENTS,
    STREAM_EVENTS,
    EmbeddingResponse,
    LLMResponse,
    StreamEvent,
    StreamFinish,
)


def terminal(target: Target) -> Handler:
    """The handler that calls the provider of *target*."""
    provider = target.provider

    async def handle(call: Call) -> Reply:
        if call.mode == "generate":
            request = target.chat_request(call, call.api_key)
            try:
                with call.guard:
                    response = await provider.generate(request)
                if not isinstance(response, LLMResponse):
                    raise defect(target.ref, f"returned a {type(response).__name__} in the place of an LLMResponse")
            except Exception as error:  # noqa: BLE001 - nothing foreign crosses the public interface
                raise_alone(_attempt_error(error, target, call, request.limits))
            response.provider = response.provider or target.ref.provider
            response.model = response.model or target.ref.model
            if request.warnings:
                response.warnings = (*response.warnings, *request.warnings)
                _report(call, target, request)
            reply = Reply(call, response=response)
            reply.headers = request.answer_headers
            return reply
        if call.mode == "stream":
            return await stream(call)
        if not isinstance(provider, Embedder):
            raise UnsupportedFeature(
                f"{target.ref.provider} has no embeddings: choose a provider and model that can embed"
            )
        wanted = target.embedding_request(call, call.api_key)
        try:
            with call.guard:
                vectors = await provider.embed(wanted)
            if not isinstance(vectors, EmbeddingResponse) or len(vectors.vectors) != len(call.inputs):
                raise defect(target.ref, "did not return an EmbeddingResponse with one vector for each text")
        except Exception as error:  # noqa: BLE001 - as above
            raise_alone(_attempt_error(error, target, call, wanted.limits))
        vectors.provider = vectors.provider or target.ref.provider
        vectors.model = vectors.model or target.ref.model
        reply = Reply(call, embedding=vectors)
        reply.headers = wanted.answer_headers
        return reply

    async def stream(call: Call) -> Reply:
        request = target.chat_request(call, call.api_key)
        try:
            events = provider.stream_generate(request)
        except Exception as error:  # noqa: BLE001 - as above
            raise_alone(_attempt_error(error, target, call, request.limits))
        if request.limits.min_rate is not None:
            events = Paced(events, request.limits, call.clock)
        try:
            try:
                with call.guard:
                    head = await _until_output(events, target)
                    if call.held_tokens:
                        await hold_back(events, head, call)
            except Exception as error:  # noqa: BLE001 - as above
                raise_alone(_attempt_error(error, target, call, request.limits))
        except BaseException:
            await close(events)
            raise
        if request.warnings:
            _report(call, target, request)
        reply = Reply(call, head=head, tail=events, convert=lambda error: own_error(error, target.ref))
        reply.headers = request.answer_headers

        def add_warnings(reply: Reply, _: BaseException | None) -> None:
            if reply.response is not None:
                reply.response.warnings = (*reply.response.warnings, *request.warnings)

        reply.on_end(add_warnings)
        return reply

    return handle


def _report(call: Call, target: Target, request: ChatRequest) -> None:
    """Publish what the request had to go without, unless the policy is to keep quiet about it."""
    if request.policy == "warn" and call.events.wants(RequestAdjusted):
        lost = tuple(warning for warning in request.warnings if warning.code in {"dropped", "clamped"})
        if lost:
            call.events.publish(RequestAdjusted(call.id, target.ref, lost))


def _attempt_error(error: Exception, target: Target, call: Call, limits: PhaseLimits) -> LLMError:
    """What is raised for an attempt that ended with *error*."""
    found = own_error(error, target.ref)
    if isinstance(found, ProviderError) and found.code == "deadline_exceeded" and limits.deadline_at < call.deadline.at:
        # `timeouts.total` of this provider has passed: the call has time left for another candidate.
        found.code = "attempt_timeout"
    return found


async def _until_output(events: AsyncIterator[StreamEvent], target: Target) -> list[StreamEvent]:
    head: list[StreamEvent] = []
    async for event in events:
        head.append(event)
        if isinstance(event, OUTPUT_EVENTS) or event.__class__ is StreamFinish:
            return head
        if not isinstance(event, STREAM_EVENTS):
            raise defect(target.ref, f"yielded a {type(event).__name__}, which is no event of a stream")
    raise ProviderError(
        "protocol",
        "the stream ended before it began: no output and no finish event",
        code="truncated",
        provider=target.ref.provider,
        model=target.ref.model,
        billing="ambiguous",
    )
