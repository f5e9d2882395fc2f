"""The innermost handler: hand the call to the provider and wait for its first output.

Lifecycle events of a stream are held back until there is output, so that nobody has committed to
anything before the user has something to see.
"""

from collections.abc import AsyncIterator

from core.llm.common.exceptions import LLMError, ProviderError, UnsupportedFeature, WorkerCrashed
from core.llm.pipeline.handler import Call, Handler, Reply, raise_alone
from core.llm.pipeline.target import Target
from core.llm.providers.base.provider import Embedder
from core.llm.providers.base.response import OUTPUT_EVENTS, StreamEvent, StreamFinish


def terminal(target: Target) -> Handler:
    """The handler that calls the provider of *target*."""
    provider = target.provider
    ours = _only_our_errors(target)

    async def handle(call: Call) -> Reply:
        if call.mode == "generate":
            request = target.chat_request(call, call.api_key)
            with call.guard, ours:
                response = await provider.generate(request)
            response.provider = response.provider or target.ref.provider
            response.model = response.model or target.ref.model
            if request.warnings:
                response.warnings = (*response.warnings, *request.warnings)
            return Reply(call, response=response)
        if call.mode == "stream":
            return await stream(call)
        if not isinstance(provider, Embedder):
            raise UnsupportedFeature(
                f"{target.ref.provider} has no embeddings: choose a provider and model that can embed"
            )
        with call.guard, ours:
            vectors = await provider.embed(target.embedding_request(call, call.api_key))
        vectors.provider = vectors.provider or target.ref.provider
        vectors.model = vectors.model or target.ref.model
        return Reply(call, embedding=vectors)

    async def stream(call: Call) -> Reply:
        request = target.chat_request(call, call.api_key)
        events = provider.stream_generate(request)
        try:
            with call.guard, ours:
                head = await _until_output(events, target)
        except BaseException:
            await _close(events)
            raise
        reply = Reply(call, head=head, tail=events, convert=lambda error: own_error(error, target))

        def add_warnings(reply: Reply, _: BaseException | None) -> None:
            if reply.response is not None:
                reply.response.warnings = (*reply.response.warnings, *request.warnings)

        reply.on_end(add_warnings)
        return reply

    return handle


class _only_our_errors:  # noqa: N801 - used like a keyword
    """A provider's stray exception becomes a `ProviderError`: nothing foreign crosses the public interface."""

    __slots__ = ("_target",)

    def __init__(self, target: Target) -> None:
        self._target = target

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, StopAsyncIteration):
            return
        raise_alone(own_error(error, self._target))


def own_error(error: Exception, target: Target) -> LLMError:
    """*error* where it is one of ours, and otherwise a `ProviderError` that stands for it."""
    ref = target.ref
    if isinstance(error, ProviderError):
        return error.at(ref.provider, ref.model)
    if isinstance(error, WorkerCrashed):
        return ProviderError(
            "server_error", str(error), code="worker_crashed", provider=ref.provider, model=ref.model, billing="none"
        )
    if isinstance(error, LLMError):
        return error
    # The text of a foreign exception may hold request headers, hence only its type.
    return ProviderError(
        "unknown",
        f"the provider raised {type(error).__name__}, which is a defect of the provider",
        code="provider_defect",
        retryable=False,
        provider=ref.provider,
        model=ref.model,
        billing="ambiguous",
    )


async def _until_output(events: AsyncIterator[StreamEvent], target: Target) -> list[StreamEvent]:
    head: list[StreamEvent] = []
    async for event in events:
        head.append(event)
        if isinstance(event, OUTPUT_EVENTS) or event.__class__ is StreamFinish:
            return head
    raise ProviderError(
        "protocol",
        "the stream ended before it began: no output and no finish event",
        code="truncated",
        provider=target.ref.provider,
        model=target.ref.model,
        billing="ambiguous",
    )


async def _close(events: AsyncIterator[StreamEvent]) -> None:
    aclose = getattr(events, "aclose", None)
    if aclose is not None:
        await aclose()
