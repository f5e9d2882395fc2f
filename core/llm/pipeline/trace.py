"""The outermost layer: the whole story on every answer and every error, and one event when the call has ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.llm.common.events import CallFinished, CallRecovered
from core.llm.common.exceptions import LLMError
from core.llm.common.types import Usage
from core.llm.pipeline.handler import Call, Handler, Outcome, Reply


def trace(inner: Handler) -> Handler:
    """The layer itself."""

    @asynccontextmanager
    async def handle(call: Call) -> AsyncIterator[Reply]:
        reply: Reply | None = None
        outcome: Outcome = "failed"
        try:
            async with inner(call) as reply:
                yield reply
            outcome = "answered" if reply.outcome == "open" else reply.outcome
        except LLMError as error:
            error.trace = call.trace
            raise
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            raise
        finally:
            _finish(call, reply, outcome)

    return handle


def _finish(call: Call, reply: Reply | None, outcome: Outcome) -> None:
    duration = call.elapsed()
    usage: Usage | None = None
    if reply is not None:
        response, vectors = reply.response, reply.embedding
        if response is not None:
            response.trace, response.duration = call.trace, duration
            response.time_to_first_token = reply.first_output_at
            response.metadata = call.request.metadata
            usage = response.usage
        elif vectors is not None:
            vectors.trace, vectors.duration = call.trace, duration
            usage = vectors.usage
        else:
            usage = reply.collector.usage
    if not call.events.active:
        return
    if outcome == "answered" and len(call.trace.attempts) > 1 and call.target is not None:
        call.events.publish(CallRecovered(call.id, call.target, len(call.trace.attempts)))
    ended = "failed" if outcome == "open" else outcome
    call.events.publish(CallFinished(call.id, ended, call.target, duration, usage, call.trace))
