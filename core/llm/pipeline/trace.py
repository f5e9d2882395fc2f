"""The outermost layer: the whole story on every answer and every error, and one event when the call has ended."""

import asyncio
from functools import partial

from core.llm.common.events import CallFailed, CallFinished, CallRecorded, CallRecovered
from core.llm.common.exceptions import LLMError, ProviderError, StructuredOutputError
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import Usage
from core.llm.pipeline.handler import Call, Handler, Outcome, Reply


def trace(inner: Handler) -> Handler:
    """The layer itself."""

    async def handle(call: Call) -> Reply:
        try:
            reply = await inner(call)
        except LLMError as error:
            error.trace = call.trace
            # What did not become an object has been paid for all the same.
            usage = error.usage if isinstance(error, StructuredOutputError) else None
            text = error.partial.text if isinstance(error, ProviderError) and error.partial else ""
            _publish(call, "failed", usage, text, error)
            raise
        except BaseException as error:
            _publish(call, "cancelled" if isinstance(error, asyncio.CancelledError) else "failed", None, "", error)
            raise
        reply.on_end(partial(_finish, call))
        return reply

    return handle


def _finish(call: Call, reply: Reply, error: BaseException | None) -> None:
    if isinstance(error, LLMError):
        error.trace = call.trace
    response, vectors = reply.response, reply.embedding
    usage: Usage | None
    if response is not None:
        response.trace, response.duration = call.trace, call.elapsed()
        response.time_to_first_token = reply.first_output_at
        response.metadata = call.request.metadata
        usage = response.usage
    elif vectors is not None:
        vectors.trace, vectors.duration = call.trace, call.elapsed()
        usage = vectors.usage
    else:
        usage = reply.collector.usage
    text = ""
    if call.events.wants_only(CallRecorded):
        text = response.content if response is not None else reply.collector.partial().text
    _publish(call, reply.outcome, usage, text, error)


def _publish(call: Call, outcome: Outcome, usage: Usage | None, text: str, error: BaseException | None) -> None:
    events = call.events
    attempts = call.trace.attempts
    if outcome == "answered" and len(attempts) > 1 and call.target is not None and _failed_before(attempts):
        events.publish(CallRecovered(call.id, call.target, len(attempts)))
    if events.wants_only(CallRecorded):
        events.publish(CallRecorded(call.id, call.request, text, outcome, call.target, usage, call.trace))
    kind = CallFailed if outcome == "failed" else CallFinished
    if events.wants(kind):
        ended = "failed" if outcome == "open" else outcome
        said = (call.id, ended, call.target, call.elapsed(), usage, call.trace)
        events.publish(CallFailed(*said, _told(error)) if kind is CallFailed else CallFinished(*said))


def _told(error: BaseException | None) -> str:
    if isinstance(error, ProviderError):
        return f"{error.type}: {error}"
    # The text of a foreign error may hold anything.
    return f"{type(error).__name__}: {error}" if isinstance(error, LLMError) else type(error).__name__


def _failed_before(attempts: list[AttemptTrace]) -> bool:
    """Whether one of several has failed; one that was cut because another was faster has not."""
    return sum(attempt.decision != "cancelled" for attempt in attempts) > 1
