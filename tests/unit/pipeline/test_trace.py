"""The whole story on every answer and every error, and one event when a call has ended."""

import asyncio
from typing import Any

import pytest

from core.llm.common.events import CallFinished, CallRecovered, EventBus
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import Usage
from core.llm.pipeline.handler import Call, Handler
from core.llm.pipeline.terminal import terminal
from core.llm.pipeline.trace import trace
from core.llm.testing import EventRecorder, FakeClock, Gate
from tests.unit.pipeline.support import ALPHA, Scripted, a_call, a_provider, a_target, an_error, answered


class Rig:
    """The trace layer and what it publishes."""

    def __init__(self, inner: Handler) -> None:
        self.clock = FakeClock()
        self.events = EventBus()
        self.seen = EventRecorder(self.events)
        self.handler = trace(inner)

    def call(self, mode: Any = "generate", **params: Any) -> Call:
        call = a_call(mode, clock=self.clock, events=self.events, **params)
        call.target = ALPHA
        return call

    def outcome(self) -> str:
        assert len(self.seen.of(CallFinished)) == 1
        return self.seen.last(CallFinished).outcome


async def test_an_answer_carries_its_trace_its_duration_and_the_callers_metadata() -> None:
    """Everything a caller may want to log is on the response."""
    rig = Rig(Scripted("fine"))
    call = rig.call(metadata={"tenant": "a"})
    reply = await rig.handler(call)
    await rig.clock.advance(2.0)
    await reply.end("answered")
    assert reply.response is not None
    assert (reply.response.trace, reply.response.duration) == (call.trace, 2.0)
    assert reply.response.metadata == {"tenant": "a"}
    finished = rig.seen.last(CallFinished)
    assert (finished.outcome, finished.duration, finished.usage) == ("answered", 2.0, Usage(3, output=2))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(an_error(), "failed"), (asyncio.CancelledError(), "cancelled"), (RuntimeError("a defect"), "failed")],
)
async def test_a_call_that_ends_before_it_has_begun_is_finished_once(error: BaseException, outcome: str) -> None:
    """A failure is a failure, whoever raised it; only a cancellation is called one."""
    rig = Rig(Scripted(error))
    call = rig.call()
    with pytest.raises(type(error)):
        await rig.handler(call)
    assert rig.outcome() == outcome


async def test_an_error_carries_the_trace() -> None:
    """Before the first output and after it."""
    rig = Rig(Scripted(an_error(), "beginning"))
    call = rig.call()
    with pytest.raises(Exception, match="it failed") as caught:
        await rig.handler(call)
    assert getattr(caught.value, "trace", None) is call.trace
    later = rig.call()
    reply = await rig.handler(later)
    broken = an_error()
    await reply.end("failed", broken)
    assert broken.trace is later.trace


@pytest.mark.parametrize("outcome", ["abandoned", "cancelled", "failed", "answered"])
async def test_the_event_says_how_a_reply_ended(outcome: Any) -> None:
    """Ending it twice publishes once."""
    rig = Rig(Scripted("beginning"))
    reply = await rig.handler(rig.call())
    await reply.end(outcome)
    await reply.end("failed")
    assert rig.outcome() == outcome


@pytest.mark.parametrize(("attempts", "recovered"), [(1, 0), (3, 1)])
async def test_an_answer_after_failed_attempts_is_a_recovery(attempts: int, recovered: int) -> None:
    """One event says at which attempt it was answered."""
    rig = Rig(Scripted("fine"))
    call = rig.call()
    call.trace.attempts = [AttemptTrace(number + 1, ALPHA, 0.0) for number in range(attempts)]
    await answered(rig.handler, call)
    assert [event.attempts for event in rig.seen.of(CallRecovered)] == [attempts] * recovered


async def test_a_broken_stream_reports_the_usage_it_had_seen() -> None:
    """Usage that arrived before the break is not lost."""
    provider = a_provider()
    provider.will_stream("Hel", Gate())
    rig = Rig(terminal(a_target(provider)))
    reply = await rig.handler(rig.call("stream"))
    reply.collector.usage = Usage(7, output=1)
    await reply.end("failed", an_error())
    assert rig.seen.last(CallFinished).usage == Usage(7, output=1)


async def test_nothing_is_built_where_nobody_listens() -> None:
    """Without subscribers the layer only fills the response."""
    handler = trace(Scripted("fine"))
    response = await answered(handler, a_call())
    assert response.trace is not None
